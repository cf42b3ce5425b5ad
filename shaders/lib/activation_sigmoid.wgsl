fn activate(z: Value) -> Value { return 1.0 / (1.0 + exp(-clamp(z, Value(-87.0), Value(87.0)))); }
fn activateGradient(z: Value) -> Value {
  let e = exp(-min(abs(z), Value(87.0)));
  return e / ((1.0 + e) * (1.0 + e));
}
