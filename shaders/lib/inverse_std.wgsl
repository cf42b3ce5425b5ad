// 1 / sqrt(variance + eps); 0 where that is 0. Below 0 WGSL leaves it open, and adapters give NaN: nothing replaces it.
fn inverseStd(variance: Channel) -> Channel {
  let shifted = variance + params.eps;
  return select(1.0 / sqrt(shifted), Channel(0.0), shifted == Channel(0.0));
}
