// exp(z) - 1 by its series near 0, where the subtraction would cancel.
fn activate(z: Value) -> Value {
  let below = min(z, Value());
  let series = below * (1.0 + below * (0.5 + below * (1.0 / 6.0 + below * (1.0 / 24.0 + below / 120.0))));
  let exponential = exp(max(below, Value(-87.0))) - 1.0;
  return select(params.slope * select(exponential, series, below > Value(-0.25)), z, z > Value());
}
fn activateGradient(z: Value) -> Value {
  return select(params.slope * exp(clamp(z, Value(-87.0), Value())), Value(1.0), z > Value());
}
