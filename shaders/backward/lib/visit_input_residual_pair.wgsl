// In evaluation dx needs no sums: dx = gamma * invStd * dz; dResidual = dz; by words.
fn visit(cursor: Cursor, gradient: Gradient, known: Saved, following: Saved) {
  if (!ownsWord(cursor)) { return; }
  let index = cursor.index;
  let low = known.scale * gradient.dz;
  if (endsTensor(cursor)) {
    storeLowDx(index, low);
    storeLowDResidual(index, gradient.dz);
  } else if (endsRow(cursor)) {
    let dz = gradientAt(index + 1u, following).dz;
    storePairDx(index, low, following.scale * dz);
    storePairDResidual(index, gradient.dz, dz);
  } else {
    let dz = gradientAt(index + 1u, known).dz;
    storePairDx(index, low, known.scale * dz);
    storePairDResidual(index, gradient.dz, dz);
  }
}
