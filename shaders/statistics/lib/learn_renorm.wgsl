// Batch renormalization averages deviations, not variances (Ioffe 2017, algorithm 1), for training in `renorm`
// (mu, sigma) and for inference in the running variance, which is then that average squared.
fn movedVariance(old: Channel, own: Channel, momentum: f32) -> Channel {
  let deviation = moved(sqrt(old + params.eps), sqrt(own + params.eps), momentum);
  let variance = deviation * deviation - params.eps;
  return select(variance, Channel(), variance < Channel());
}

fn learnRenorm(group: u32, mean: Channel, variance: Channel) {
  let channels = arrayLength(&renorm) / 2u;
  renorm[group] = moved(renorm[group], mean, RENORM_MOMENTUM);
  renorm[channels + group] = moved(renorm[channels + group], sqrt(variance + params.eps), RENORM_MOMENTUM);
}
