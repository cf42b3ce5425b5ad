// Backward, first of two dispatches: sums of dz and dz * xHat over every chunk.
// In evaluation this pass writes dx as well, which needs no sums there.
// Passes: x and dy read once (8 bytes an f32; evaluation 12). Barriers: 2.
// Error: (6 + 2 * sqrt(TEAM)) * 2^-24 of the sum of magnitudes, the long chain is compensated.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let merged = sumTeam(laneSums(task, savedOf(task.channel), savedOf(followingOf(task.channel))), task.lane, local);
  if (task.valid && task.lane == 0u) {
    storePartialSums(params.firstSlot + task.chunk, task.channel, merged);
  }
}
