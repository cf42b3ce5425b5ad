fn storeInputGradient(cursor: Cursor, known: Saved, means: Means, knownFollowing: Saved, meansFollowing: Means) {
  storeDx(cursor.index, inputGradientAt(cursor.index, known, means));
}
