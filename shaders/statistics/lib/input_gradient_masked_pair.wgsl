// dx by words: where a row ends the high half is of the next channel, at the start of the same row of positions, or
// of the next position where it was the last channel's.
fn mapMaskedAt(cursor: Cursor, at: u32, last: bool, own: Known, following: Known) {
  if (!ownsWord(cursor)) { return; }
  let index = cursor.index;
  let low = inputGradientMasked(index, maskAt(at, cursor.inner), own);
  if (endsTensor(cursor)) {
    storeLowDx(index, low);
  } else if (endsRow(cursor)) {
    let high = select(at + 1u - maskRow(), at + 1u, last);
    storePairDx(index, low, inputGradientMasked(index + 1u, maskAt(high, 0u), following));
  } else {
    storePairDx(index, low, inputGradientMasked(index + 1u, maskAt(at + 1u, cursor.inner + 1u), own));
  }
}
