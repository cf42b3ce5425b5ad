// Backward in evaluation where only dx is wanted and nothing stands behind it: dx = gamma * invStd * dy.
// Passes: dy read once, dx written once (8 bytes an f32).
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let scale = spread(saved[3u * params.groups + task.group] * saved[2u * params.groups + task.group]);
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    storeDx(cursor.index, scale * loadDy(cursor.index));
    cursor = next(cursor);
  }
}
