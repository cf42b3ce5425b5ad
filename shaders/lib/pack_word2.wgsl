// Four 16-bit numbers in two words.
alias Storage = vec2u;
fn unpack(words: Storage) -> Value {
  return widen(vec4u(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u));
}
fn pack(value: Value) -> Storage {
  let half = narrow(value);
  return vec2u(half.x | (half.y << 16u), half.z | (half.w << 16u));
}
