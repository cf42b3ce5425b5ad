fn mapAt(cursor: Cursor, own: Known, following: Known) {
  storeDx(cursor.index, inputGradientAt(cursor.index, own));
}
