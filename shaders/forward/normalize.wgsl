// Training forward, second of two dispatches: every team merges its channel's chunks, in chunk order,
// and normalises one chunk. Passes: x read once, y written once (8 bytes an f32).
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u,
        @builtin(local_invocation_index) local: u32) {
  let task = taskOf(grid - workgroup - 1u, local);
  let own = channelStatistics(task.channel, task.lane, local);
  var following = own;
  if (PAIRS) {
    workgroupBarrier();
    following = channelStatistics(followingOf(task.channel), task.lane, local);
  }
  let group = followingOf(task.channel);
  mapChunk(task, learn(task, own),
    normalOf(group, following.shift, following.delta, inverseStd(following.m2 * params.perCount)));
}
