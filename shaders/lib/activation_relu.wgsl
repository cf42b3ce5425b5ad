fn activate(z: Value) -> Value { return max(z, Value()); }
fn activateGradient(z: Value) -> Value { return select(Value(), Value(1.0), z > Value()); }
