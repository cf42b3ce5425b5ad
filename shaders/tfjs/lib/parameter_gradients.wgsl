// dGamma, dBeta, dMean = -gamma * invStd * dBeta and dVariance = -gamma * invStd^2 * dGamma / 2, written once a
// channel: mean and variance do not depend on x, but the caller differentiates them.
fn storeParameterGradients(task: Task, sums: Sums) {
  if (learnsFrom(task)) {
    let group = task.channel;
    let invStd = inverseStd(variance[group]);
    let scale = gamma[group] * invStd;
    dGamma[group] = sums.dzXHat;
    dBeta[group] = sums.dz;
    dMean[group] = -scale * sums.dz;
    dVariance[group] = -0.5 * scale * invStd * sums.dzXHat;
  }
}
