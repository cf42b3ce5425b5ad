// IEEE binary16 by integers alone: nearest even, subnormals kept, +-Inf on overflow, NaN stays NaN.
fn widen(half: ValueBits) -> Value {
  let sign = (half & ValueBits(0x8000u)) << ValueBits(16u);
  let magnitude = half & ValueBits(0x7fffu);
  let normal = (magnitude << ValueBits(13u)) + ValueBits(0x38000000u);
  let special = (magnitude << ValueBits(13u)) | ValueBits(0x7f800000u);
  // a subnormal is a whole number of 2^-24
  let subnormal = bitcast<ValueBits>(Value(magnitude) * 5.9604644775390625e-8);
  let finite = select(normal, subnormal, magnitude < ValueBits(0x0400u));
  return bitcast<Value>(sign | select(finite, special, magnitude >= ValueBits(0x7c00u)));
}

fn narrow(value: Value) -> ValueBits {
  let bits = bitcast<ValueBits>(value);
  let sign = (bits >> ValueBits(16u)) & ValueBits(0x8000u);
  let magnitude = bits & ValueBits(0x7fffffffu);
  let odd = (magnitude >> ValueBits(13u)) & ValueBits(1u);
  let normal = (magnitude - ValueBits(0x38000000u) + ValueBits(0xfffu) + odd) >> ValueBits(13u);

  let shift = clamp(ValueBits(126u) - min(magnitude >> ValueBits(23u), ValueBits(126u)), ValueBits(1u), ValueBits(25u));
  let mantissa = (magnitude & ValueBits(0x7fffffu)) | ValueBits(0x800000u);
  let oddBelow = (mantissa >> shift) & ValueBits(1u);
  let subnormal = (mantissa + (ValueBits(1u) << (shift - ValueBits(1u))) - ValueBits(1u) + oddBelow) >> shift;

  let finite = select(normal, subnormal, magnitude < ValueBits(0x38800000u));
  let overflown = select(finite, ValueBits(0x7c00u), magnitude >= ValueBits(0x477ff000u));
  return sign | select(overflown, ValueBits(0x7e00u), magnitude > ValueBits(0x7f800000u));
}
