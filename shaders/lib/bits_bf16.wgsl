// bfloat16 by integers alone: nearest even, +-Inf on overflow, NaN stays NaN.
fn widen(half: ValueBits) -> Value { return bitcast<Value>(half << ValueBits(16u)); }

fn narrow(value: Value) -> ValueBits {
  let bits = bitcast<ValueBits>(value);
  let odd = (bits >> ValueBits(16u)) & ValueBits(1u);
  let rounded = (bits + ValueBits(0x7fffu) + odd) >> ValueBits(16u);
  let nan = (bits >> ValueBits(16u)) | ValueBits(0x40u);
  return select(rounded, nan, (bits & ValueBits(0x7fffffffu)) > ValueBits(0x7f800000u));
}
