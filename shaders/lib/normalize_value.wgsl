fn normalizeAt(cursor: Cursor, own: Normal, following: Normal) {
  storeY(cursor.index, normalized(loadX(cursor.index), cursor.index, own));
}
