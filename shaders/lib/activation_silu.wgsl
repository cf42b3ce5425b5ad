fn sigmoid(z: Value) -> Value { return 1.0 / (1.0 + exp(-clamp(z, Value(-87.0), Value(87.0)))); }
fn activate(z: Value) -> Value { return z * sigmoid(z); }
fn activateGradient(z: Value) -> Value {
  let s = sigmoid(z);
  let e = exp(-min(abs(z), Value(87.0)));
  return s + z * (e / ((1.0 + e) * (1.0 + e)));
}
