fn activate(z: Value) -> Value { return select(params.slope * z, z, z > Value()); }
fn activateGradient(z: Value) -> Value { return select(Value(params.slope), Value(1.0), z > Value()); }
