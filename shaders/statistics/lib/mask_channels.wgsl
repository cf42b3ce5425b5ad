// A mask has one number a position; what is not 0 counts. The numbers of a Value are of one position.
fn maskAt(at: u32, inner: u32) -> Value {
  return Value(select(0.0, 1.0, mask[params.extra + at] != 0.0));
}
