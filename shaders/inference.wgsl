// Inference: y from the running statistics, in one dispatch. Passes: x read once, y written once.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let mean = bitcast<Channel>(state[task.group]);
  let invStd = inverseStd(bitcast<Channel>(state[params.varianceAt + task.group]));
  let scale = gammaOf(task.group);
  let offset = betaOf(task.group);
  if (task.valid && task.chunk == 0u && task.lane == 0u) {
    save(task.group, mean, Channel(), invStd, scale, offset);
  }
  normalizeChunk(task, mean, Channel(), scale * invStd, offset);
}
