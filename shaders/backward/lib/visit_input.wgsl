// In evaluation dx needs no sums: dx = gamma * invStd * dz.
fn visit(cursor: Cursor, gradient: Gradient, known: Saved, following: Saved) {
  storeDx(cursor.index, known.scale * gradient.dz);
}
