// y = slope * (exp(z) - 1); where y has saturated, z is taken as -16: exp(-16) is the last bit of an f32.
fn invertActivation(y: Value) -> Value {
  let ratio = max(y / params.slope, Value(-1.0 + 1.1920929e-7));
  // log(1 + r) by its series near 0, where the addition would round r off
  let series = ratio * (1.0 - ratio * (0.5 - ratio * (1.0 / 3.0 - ratio * (0.25 - ratio * (0.2 - ratio / 6.0)))));
  return select(select(log(1.0 + min(ratio, Value())), series, abs(ratio) < Value(0.05)), y, y > Value());
}
fn gradientOfOutput(y: Value) -> Value { return select(y + params.slope, Value(1.0), y > Value()); }
