// dResidual = dz, by words.
fn visit(cursor: Cursor, gradient: Gradient, known: Saved, following: Saved) {
  if (!ownsWord(cursor)) { return; }
  let index = cursor.index;
  if (endsTensor(cursor)) {
    storeLowDResidual(index, gradient.dz);
  } else if (endsRow(cursor)) {
    storePairDResidual(index, gradient.dz, gradientAt(index + 1u, following).dz);
  } else {
    storePairDResidual(index, gradient.dz, gradientAt(index + 1u, known).dz);
  }
}
