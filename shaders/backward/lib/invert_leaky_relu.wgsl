fn invertActivation(y: Value) -> Value { return select(y / params.slope, y, y > Value()); }
fn gradientOfOutput(y: Value) -> Value { return select(Value(params.slope), Value(1.0), y > Value()); }
