// From a channel's statistics: what is saved, what the running statistics learn, and how x is normalised.
fn learn(task: Task, own: Statistics) -> Normal {
  let variance = own.m2 * params.perCount;
  let invStd = inverseStd(variance);
  if (task.valid && task.chunk == 0u && task.lane == 0u) {
    save(task.group, own.shift, own.delta, invStd);
    updateRunning(task.group, own.shift, variance);
  }
  return normalOf(task.group, own.shift, own.delta, invStd);
}
