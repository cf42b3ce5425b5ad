fn invertActivation(y: Value) -> Value { return y; }
fn gradientOfOutput(y: Value) -> Value { return Value(1.0); }
