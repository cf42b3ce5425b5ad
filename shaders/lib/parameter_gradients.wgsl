// dGamma and dBeta, written once a channel.
fn storeParameterGradients(task: Task, sums: Sums) {
  if (task.valid && task.chunk == 0u && task.lane == 0u) {
    storeDGamma(task.group, sums.dzXHat);
    storeDBeta(task.group, sums.dz);
  }
}
