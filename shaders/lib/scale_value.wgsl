fn storeScaled(cursor: Cursor, own: Value, following: Value) {
  storeDx(cursor.index, own * loadDy(cursor.index));
}
