// Backward where dx is done or not wanted: dGamma and dBeta from the chunks' sums, a team per channel group.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  storeParameterGradients(task, channelSums(task.channel, task.lane, local));
}
