// A word's low half writes both: the high half is of the next channel where a row ends.
alias Known = Normal;
fn mapAt(cursor: Cursor, own: Known, following: Known) {
  let index = cursor.index;
  if (!ownsWord(cursor)) { return; }
  let low = normalized(loadX(index), index, own);
  if (endsTensor(cursor)) {
    storeLowY(index, low);
  } else if (endsRow(cursor)) {
    storePairY(index, low, normalized(loadX(index + 1u), index + 1u, following));
  } else {
    storePairY(index, low, normalized(loadX(index + 1u), index + 1u, own));
  }
}
