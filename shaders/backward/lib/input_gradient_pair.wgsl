// dx by words: the high half is of the next channel where a row ends.
fn mapAt(cursor: Cursor, own: Known, following: Known) {
  if (!ownsWord(cursor)) { return; }
  let index = cursor.index;
  let low = inputGradientAt(index, own);
  if (endsTensor(cursor)) {
    storeLowDx(index, low);
  } else if (endsRow(cursor)) {
    storePairDx(index, low, inputGradientAt(index + 1u, following));
  } else {
    storePairDx(index, low, inputGradientAt(index + 1u, own));
  }
}
