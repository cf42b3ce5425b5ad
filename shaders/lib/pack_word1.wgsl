// Two 16-bit numbers in a word.
alias Storage = u32;
fn unpack(word: Storage) -> Value { return widen(vec2u(word & 0xffffu, word >> 16u)); }
fn pack(value: Value) -> Storage {
  let half = narrow(value);
  return half.x | (half.y << 16u);
}
