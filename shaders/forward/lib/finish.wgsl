// From a channel's statistics: what is saved, what the running statistics learn, and how x is normalised.
fn learn(task: Task, merged: Statistics) -> Normal {
  // A single block is centred on its first value: shift becomes the mean here at the latest.
  let own = anchored(merged.count, merged.shift, merged.delta, merged.m2);
  let variance = own.m2 * params.perCount;
  let invStd = inverseStd(variance);
  if (learnsFrom(task)) {
    save(task.channel, own.shift, own.delta, invStd);
    updateRunning(task.channel, own.shift, variance);
  }
  return normalOf(task.channel, own.shift, own.delta, invStd);
}
