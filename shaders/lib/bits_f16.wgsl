// IEEE binary16 in pairs, by 32-bit arithmetic alone: nearest even, subnormals kept, +-Inf on overflow, NaN stays NaN.
// Multiplications stand for shifts to the left, and one shift to the right serves two numbers: software adapters
// shift a number at a time.
fn widenBits(word: u32) -> vec2f {
  let half = vec2u(word, word >> 16u);
  let magnitude = (half & vec2u(0x7fffu)) * vec2u(0x2000u);
  // A subnormal's bits are the fraction of a number from 2^-14 on.
  let subnormal = bitcast<vec2u>(bitcast<vec2f>(magnitude + vec2u(0x38800000u)) - 6.103515625e-5);
  let finite = select(magnitude + vec2u(0x38000000u), subnormal, magnitude < vec2u(0x00800000u));
  let all = select(finite, magnitude | vec2u(0x7f800000u), magnitude >= vec2u(0x0f800000u));
  return bitcast<vec2f>(((half & vec2u(0x8000u)) * vec2u(0x10000u)) | all);
}

fn narrowBits(pair: vec2f) -> u32 {
  let bits = bitcast<vec2u>(pair);
  let magnitude = bits & vec2u(0x7fffffffu);
  // Each stands 13 bits up, over what rounding left.
  let odd = min(magnitude & vec2u(0x2000u), vec2u(1u));
  let normal = magnitude - vec2u(0x38000000u) + vec2u(0xfffu) + odd;
  // 0.5 has the last bit of a subnormal: the addition rounds to it.
  let subnormal = bitcast<vec2u>(abs(pair) + 0.5) * vec2u(0x2000u);
  let finite = select(normal, subnormal, magnitude < vec2u(0x38800000u));
  let overflown = select(finite, vec2u(0x0f800000u), magnitude >= vec2u(0x477ff000u));
  let all = select(overflown, vec2u(0x0fc00000u), magnitude > vec2u(0x7f800000u));
  let half = (bits & vec2u(0x80000000u)) | ((all * vec2u(8u)) & vec2u(0x7fff0000u));
  return (half.x >> 16u) | half.y;
}
