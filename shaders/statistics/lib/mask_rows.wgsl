// A mask has one number a position; what is not 0 counts, by its bits. The numbers of a Value are of four rows.
fn maskAt(at: u32, inner: u32) -> Value {
  let first = 4u * (at - inner) + inner;
  let found = ValueBits(mask[first], mask[first + params.inner], mask[first + 2u * params.inner],
                        mask[first + 3u * params.inner]);
  return select(Value(), Value(1.0), (found & ValueBits(0x7fffffffu)) != ValueBits());
}
