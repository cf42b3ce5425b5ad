fn addResidual(z: Value, index: u32) -> Value { return z; }
