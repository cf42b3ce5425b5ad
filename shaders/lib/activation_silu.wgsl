fn sigmoid(z: Value) -> Value { return 1.0 / (1.0 + exp(-clamp(z, Value(-87.0), Value(87.0)))); }
// What is far out is left out of products: a huge z would outgrow what little the other factor still is.
fn activate(z: Value) -> Value { return select(z, Value(), z < Value(-87.0)) * sigmoid(z); }
fn activateGradient(z: Value) -> Value {
  let e = exp(-min(abs(z), Value(87.0)));
  return sigmoid(z) + select(z, Value(), abs(z) > Value(87.0)) * (e / ((1.0 + e) * (1.0 + e)));
}
