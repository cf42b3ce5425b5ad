// tanh(z) = 1 - 2 / (exp(2z) + 1), z clamped where it is 1 to the last bit: exp cannot overflow.
fn activate(z: Value) -> Value { return 1.0 - 2.0 / (exp(2.0 * clamp(z, Value(-15.0), Value(15.0))) + 1.0); }
fn activateGradient(z: Value) -> Value {
  let e = exp(-2.0 * min(abs(z), Value(40.0)));
  return 4.0 * e / ((1.0 + e) * (1.0 + e));
}
