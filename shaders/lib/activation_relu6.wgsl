fn activate(z: Value) -> Value { return min(max(z, Value()), Value(6.0)); }
fn activateGradient(z: Value) -> Value {
  return select(Value(), Value(1.0), z > Value()) * select(Value(), Value(1.0), z < Value(6.0));
}
