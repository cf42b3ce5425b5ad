// Four 16-bit numbers in two words.
alias Storage = vec2u;
fn unpack(words: Storage) -> Value { return widenFour(words); }
fn pack(value: Value) -> Storage { return narrowFour(value); }
