// Additions that no compiler reassociates: each is fused with a multiplication by a 1 that it cannot know to be one. The
// product is exact, so the sum is rounded once, as without it, and costs one instruction.
fn plus(a: Value, b: Value) -> Value { return fma(a, Value(params.one), b); }
fn minus(a: Value, b: Value) -> Value { return fma(a, Value(params.one), -b); }
fn plusChannel(a: Channel, b: Channel) -> Channel { return fma(a, Channel(params.one), b); }
fn minusChannel(a: Channel, b: Channel) -> Channel { return fma(a, Channel(params.one), -b); }
