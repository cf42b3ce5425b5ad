fn activate(z: Value) -> Value { return z * (clamp(z + 3.0, Value(), Value(6.0)) / 6.0); }
fn activateGradient(z: Value) -> Value {
  let inside = select(z / 3.0 + 0.5, Value(1.0), z >= Value(3.0));
  return select(inside, Value(), z <= Value(-3.0));
}
