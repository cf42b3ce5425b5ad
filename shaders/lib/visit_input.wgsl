// In evaluation dx needs no sums: dx = gamma * invStd * dz.
fn visit(index: u32, gradient: Gradient, known: Saved) {
  storeDx(index, known.gamma * known.invStd * gradient.dz);
}
