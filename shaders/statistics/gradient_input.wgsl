// dx of every chunk from the channel's sums, whose M stands in `saved`.
// Passes: x and dy read once, dx written once (12 bytes an f32). Barriers: 2, 4 where pairs.
fn channelMeans(group: u32, lane: u32, local: u32) -> Sums {
  let total = channelSums(group, lane, local);
  let perCount = saved[5u * params.allGroups + group];
  return Sums(total.dz * perCount, total.dzXHat * perCount);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u,
        @builtin(local_invocation_index) local: u32) {
  let task = taskOf(grid - workgroup - 1u, local);
  let own = channelMeans(task.channel, task.lane, local);
  var following = own;
  if (PAIRS) {
    workgroupBarrier();
    following = channelMeans(followingOf(task.channel), task.lane, local);
  }
  mapChunk(task, Known(savedOf(task.channel), meansOf(own)),
    Known(savedOf(followingOf(task.channel)), meansOf(following)));
}
