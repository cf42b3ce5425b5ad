// M / (M - 1) = 1 / (1 - 1 / M); of one value 0, as its variance is.
fn learnedVariance(variance: Channel, perCount: f32) -> Channel {
  return variance / select(1.0 - perCount, 1.0, perCount == 1.0);
}
