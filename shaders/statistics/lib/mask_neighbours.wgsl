// A mask has one number a position; what is not 0 counts, by its bits. The numbers of a Value are neighbours in it.
fn maskAt(at: u32, inner: u32) -> Value {
  return select(Value(), Value(1.0), (mask[params.extra + at] & ValueBits(0x7fffffffu)) != ValueBits());
}
