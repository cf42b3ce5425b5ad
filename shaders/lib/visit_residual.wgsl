// dResidual = dz, which the second dispatch then reads instead of dy, x's activation and the residual.
fn visit(index: u32, gradient: Gradient, known: Saved) { storeDResidual(index, gradient.dz); }
