// dx by words: the high half is of the next channel where a row ends.
alias Known = Value;
fn mapAt(cursor: Cursor, own: Known, following: Known) {
  if (!ownsWord(cursor)) { return; }
  let index = cursor.index;
  let low = own * loadDy(index);
  if (endsTensor(cursor)) {
    storeLowDx(index, low);
  } else {
    storePairDx(index, low, select(own, following, endsRow(cursor)) * loadDy(index + 1u));
  }
}
