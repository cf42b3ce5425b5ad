// mu and sigma of batch renormalization, averages of the batches' mean and deviation.
fn learnRenorm(group: u32, mean: Channel, variance: Channel) {
  let channels = arrayLength(&renorm) / 2u;
  renorm[group] = moved(renorm[group], mean, RENORM_MOMENTUM);
  renorm[channels + group] = moved(renorm[channels + group], sqrt(variance + params.eps), RENORM_MOMENTUM);
}
