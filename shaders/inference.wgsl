// Inference: y from the running statistics, in one dispatch. Passes: x read once, y written once.
fn runningOf(group: u32) -> Statistics {
  return Statistics(Count(1.0), bitcast<Channel>(state[group]), Channel(),
                    bitcast<Channel>(state[params.varianceAt + group]));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let own = runningOf(task.channel);
  let invStd = inverseStd(own.m2);
  if (learnsFrom(task)) {
    save(task.channel, own.shift, own.delta, invStd);
  }
  let group = followingOf(task.channel);
  let following = runningOf(group);
  mapChunk(task, normalOf(task.channel, own.shift, own.delta, invStd),
    normalOf(group, following.shift, following.delta, inverseStd(following.m2)));
}
