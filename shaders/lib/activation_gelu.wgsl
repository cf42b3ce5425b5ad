// The exact GELU, z * Phi(z). erf as x * P(x^2) / Q(x^2) on [-4, 4], beyond which it is 1 to the last bit
// of an f32; the rational approximation is the one that Eigen and XLA use, within 4e-7.
fn erf(x: Value) -> Value {
  let c = clamp(x, Value(-4.0), Value(4.0));
  let s = c * c;
  let p = ((((((-2.72614225801306e-10 * s + 2.77068142495902e-08) * s - 2.10102402082508e-06) * s
    - 5.69250639462346e-05) * s - 7.34990630326855e-04) * s - 2.95459980854025e-03) * s
    - 1.60960333262415e-02);
  let q = ((((-1.45660718464996e-05 * s - 2.13374055278905e-04) * s - 1.68282697438203e-03) * s
    - 7.37332916720468e-03) * s - 1.42647390514189e-02);
  return c * p / q;
}
fn phi(z: Value) -> Value { return 0.5 + 0.5 * erf(z * 0.7071067811865476); }
fn activate(z: Value) -> Value { return z * phi(z); }
fn activateGradient(z: Value) -> Value {
  let c = clamp(z, Value(-13.0), Value(13.0));
  // Far out a huge z would outgrow what little the density still is.
  return phi(z) + select(z, Value(), abs(z) > Value(13.0)) * (0.3989422804014327 * exp(-0.5 * c * c));
}
