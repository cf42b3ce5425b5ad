// The compiler is known to keep the order of additions.
fn plus(a: Value, b: Value) -> Value { return a + b; }
fn minus(a: Value, b: Value) -> Value { return a - b; }
fn plusChannel(a: Channel, b: Channel) -> Channel { return a + b; }
fn minusChannel(a: Channel, b: Channel) -> Channel { return a - b; }
