// dx by words: the high half is of the next channel where a row ends.
fn storeInputGradient(cursor: Cursor, known: Saved, means: Means, knownFollowing: Saved, meansFollowing: Means) {
  if (!ownsWord(cursor)) { return; }
  let index = cursor.index;
  let low = inputGradientAt(index, known, means);
  if (endsTensor(cursor)) {
    storeLowDx(index, low);
  } else if (endsRow(cursor)) {
    storePairDx(index, low, inputGradientAt(index + 1u, knownFollowing, meansFollowing));
  } else {
    storePairDx(index, low, inputGradientAt(index + 1u, known, means));
  }
}
