// Training forward in one dispatch: a team takes a whole channel group, its chunks are one.
// Passes over x: 2, of which the second comes from the cache where the channel is small.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  countBatch(workgroup, local);
  let task = taskOf(workgroup, local);
  let own = mergeTeam(laneStatistics(task), task.lane, local);
  let normal = learn(task, own);
  mapChunk(task, normal, normal);
}
