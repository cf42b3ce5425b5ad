// From a channel's statistics: what is saved, what the running statistics learn, and y of one chunk.
fn finish(task: Task, own: Statistics, following: Statistics) {
  let variance = own.m2 * params.perCount;
  let invStd = inverseStd(variance);
  if (task.valid && task.chunk == 0u && task.lane == 0u) {
    save(task.group, own.shift, own.delta, invStd);
    updateRunning(task.group, own.shift, variance);
  }
  let group = followingOf(task.group);
  normalizeChunk(task, normalOf(task.group, own.shift, own.delta, invStd),
    normalOf(group, following.shift, following.delta, inverseStd(following.m2 * params.perCount)));
}
