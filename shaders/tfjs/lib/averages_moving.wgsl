// moving - (moving - batch) * momentum, as TensorFlow.js writes it; momentum weighs the batch.
fn averagedMean(group: u32, batch: Channel) -> Channel {
  return mean[group] - (mean[group] - batch) * params.momentum;
}
fn averagedVariance(group: u32, batch: Channel) -> Channel {
  return variance[group] - (variance[group] - batch) * params.momentum;
}
