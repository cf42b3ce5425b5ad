// In evaluation dx needs no sums: dx = gamma * invStd * dz, by words.
fn visit(cursor: Cursor, gradient: Gradient, known: Saved, following: Saved) {
  if (!ownsWord(cursor)) { return; }
  let index = cursor.index;
  let low = known.scale * gradient.dz;
  if (endsTensor(cursor)) {
    storeLowDx(index, low);
  } else if (endsRow(cursor)) {
    storePairDx(index, low, following.scale * gradientAt(index + 1u, following).dz);
  } else {
    storePairDx(index, low, known.scale * gradientAt(index + 1u, known).dz);
  }
}
