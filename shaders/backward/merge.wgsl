// Backward in training, between two dispatches where there are many chunks: a team makes the sums of a channel group's
// chunks one, in place of the first, so that the teams of the second need not read them all.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let sums = channelSums(task.channel, task.lane, local);
  if (task.valid && task.lane == 0u) { storePartialSums(0u, task.channel, sums); }
}
