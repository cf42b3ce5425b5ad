// dGamma and dBeta, written once a channel.
fn storeParameterGradients(task: Task, sums: Sums) {
  if (learnsFrom(task)) {
    storeDGamma(task.channel, sums.dzXHat);
    storeDBeta(task.channel, sums.dz);
  }
}
