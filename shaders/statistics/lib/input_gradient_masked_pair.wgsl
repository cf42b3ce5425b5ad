// dx by words: where a row ends the high half is of the next channel, at the start of the same row of positions, or
// of the next position where it was the last channel's.
fn mapMaskedAt(cursor: Cursor, at: u32, own: Known, following: Known) {
  if (!ownsWord(cursor)) { return; }
  let index = cursor.index;
  let low = inputGradientMasked(index, maskAt(at, cursor.inner), own);
  if (endsTensor(cursor)) {
    storeLowDx(index, low);
  } else if (endsRow(cursor)) {
    let wraps = (index + 1u - params.base) % (params.inner * params.allGroups) == 0u;
    let high = select(at + 1u - params.inner, at + 1u, wraps);
    storePairDx(index, low, inputGradientMasked(index + 1u, maskAt(high, 0u), following));
  } else {
    storePairDx(index, low, inputGradientMasked(index + 1u, maskAt(at + 1u, cursor.inner + 1u), own));
  }
}
