// Two 16-bit numbers in a word.
alias Storage = u32;
fn unpack(word: Storage) -> Value { return widen(word); }
fn pack(value: Value) -> Storage { return narrow(value); }
