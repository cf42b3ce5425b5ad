fn activate(z: Value) -> Value { return z; }
fn activateGradient(z: Value) -> Value { return Value(1.0); }
