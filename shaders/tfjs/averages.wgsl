// The batch's mean and variance out of `state` into buffers of their own, alone or mixed into moving averages.
// Grid: a team per channel group, whose first lane works. Passes: none over x.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  if (learnsFrom(task)) {
    let group = task.channel;
    newMean[group] = averagedMean(group, bitcast<Channel>(state[group]));
    newVariance[group] = averagedVariance(group, bitcast<Channel>(state[params.varianceAt + group]));
  }
}
