// Training forward, second of three dispatches where there are many chunks: a team merges those of a channel group, once
// for all, and leaves what `apply` takes.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  _ = learn(task, channelStatistics(task.channel, task.lane, local));
}
