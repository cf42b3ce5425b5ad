// Training forward, second of two dispatches: every team merges its channel's chunks, in chunk order,
// and normalises one chunk. Passes: x read once, y written once (8 bytes an f32).
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  var mine = Statistics();
  for (var chunk = task.lane; chunk < params.chunks; chunk += TEAM) {
    let at = 4u * chunk * params.groups + task.group;
    mine = merge(mine, Statistics(countOf(partials[at]), partials[at + params.groups],
                                  partials[at + 2u * params.groups], partials[at + 3u * params.groups]));
  }
  finish(task, mergeTeam(mine, task.lane, local));
}
