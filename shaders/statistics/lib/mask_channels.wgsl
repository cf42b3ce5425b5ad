// A mask has one number a position; what is not 0 counts, by its bits: a
// comparison may take subnormal numbers for 0, and NaN. The numbers of a Value are of one position.
fn maskAt(at: u32, inner: u32) -> Value {
  return Value(select(0.0, 1.0, (mask[params.extra + at] & 0x7fffffffu) != 0u));
}
