// Backward in evaluation where only dx is wanted and nothing stands behind it: dx = gamma * invStd * dy.
// Passes: dy read once, dx written once (8 bytes an f32).
fn scaleOf(group: u32) -> Value {
  return spread(saved[3u * params.allGroups + group] * saved[2u * params.allGroups + group]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  mapChunk(task, scaleOf(task.channel), scaleOf(followingOf(task.channel)));
}
