alias Known = Normal;
fn mapAt(cursor: Cursor, own: Known, following: Known) {
  storeY(cursor.index, normalized(loadX(cursor.index), cursor.index, own));
}
