// From a channel's statistics: what is saved, what the running statistics learn, and y of one chunk.
fn finish(task: Task, statistics: Statistics) {
  let variance = statistics.m2 * params.perCount;
  let invStd = inverseStd(variance);
  let scale = gammaOf(task.group);
  let offset = betaOf(task.group);
  if (task.valid && task.chunk == 0u && task.lane == 0u) {
    save(task.group, statistics.shift, statistics.delta, invStd, scale, offset);
    updateRunning(task.group, statistics.shift, variance);
  }
  normalizeChunk(task, statistics.shift, statistics.delta, scale * invStd, offset);
}
