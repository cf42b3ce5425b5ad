// Backward in training, second of two dispatches: every team adds up its channel's chunks and writes
// dx of one chunk. Passes: x and dy read once, dx written once (12 bytes an f32).
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u,
        @builtin(local_invocation_index) local: u32) {
  let task = taskOf(grid - workgroup - 1u, local);
  let own = channelSums(task.channel, task.lane, local);
  var following = own;
  if (PAIRS) {
    workgroupBarrier();
    following = channelSums(followingOf(task.channel), task.lane, local);
  }
  storeParameterGradients(task, own);
  mapChunk(task, Known(savedOf(task.channel), meansOf(own)),
    Known(savedOf(followingOf(task.channel)), meansOf(following)));
}
