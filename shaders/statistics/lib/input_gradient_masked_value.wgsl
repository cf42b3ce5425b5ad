fn mapMaskedAt(cursor: Cursor, at: u32, last: bool, own: Known, following: Known) {
  storeDx(cursor.index, inputGradientMasked(cursor.index, maskAt(at, cursor.inner), own));
}
