// x, y and their gradients are stored as f32.
alias Storage = Value;
fn unpack(stored: Storage) -> Value { return stored; }
fn pack(value: Value) -> Storage { return value; }
