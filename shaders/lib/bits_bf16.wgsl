// bfloat16 in pairs, by integers alone: nearest even, +-Inf on overflow, NaN stays NaN. Multiplications stand for
// shifts to the left, and one shift to the right serves two numbers: software adapters shift a number at a time.
fn widenBits(word: u32) -> vec2f { return bitcast<vec2f>(vec2u(word * 0x10000u, word & 0xffff0000u)); }

fn narrowBits(pair: vec2f) -> u32 {
  let bits = bitcast<vec2u>(pair);
  let odd = min(bits & vec2u(0x10000u), vec2u(1u));
  let rounded = bits + vec2u(0x7fffu) + odd;
  let nan = (bits & vec2u(0x7fffffffu)) > vec2u(0x7f800000u);
  let half = select(rounded, bits | vec2u(0x400000u), nan) & vec2u(0xffff0000u);
  return (half.x >> 16u) | half.y;
}
