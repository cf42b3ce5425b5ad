alias Known = Value;
fn mapAt(cursor: Cursor, own: Known, following: Known) {
  storeDx(cursor.index, own * loadDy(cursor.index));
}
