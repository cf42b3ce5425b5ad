// dResidual = dz, which the second dispatch then reads instead of dy, x's activation and the residual.
fn visit(cursor: Cursor, gradient: Gradient, known: Saved, following: Saved) {
  storeDResidual(cursor.index, gradient.dz);
}
