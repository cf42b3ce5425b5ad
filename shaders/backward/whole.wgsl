// Backward in training in one dispatch: a team takes a whole channel group.
// Passes over x and dy: 2, of which the second comes from the cache where the channel is small.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let known = savedOf(task.channel);
  let sums = sumTeam(laneSums(task, known, known), task.lane, local);
  storeParameterGradients(task, sums);
  let all = Known(known, meansOf(sums));
  mapChunk(task, all, all);
}
