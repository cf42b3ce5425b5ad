// Four 16-bit numbers in two words.
alias Storage = vec2u;
fn unpack(words: Storage) -> Value { return vec4f(widen(words.x), widen(words.y)); }
fn pack(value: Value) -> Storage { return vec2u(narrow(value.xy), narrow(value.zw)); }
