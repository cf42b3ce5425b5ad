// Training forward, first of two dispatches: the statistics of every chunk.
// Grid: a team per (channel group, chunk). Passes over x: 1 (4 bytes an f32). Barriers: log2(TEAM) + 1, side by side 5.
// Error: mean to second order of 2^-24; m2 to (8 + log2(TEAM)) * 2^-24, side by side (8 + 2 * sqrt(TEAM)) * 2^-24, its long chain is compensated.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  countBatch(workgroup, local);
  let task = taskOf(workgroup, local);
  let merged = mergeTeam(laneStatistics(task), task.lane, local);
  if (task.valid && task.lane == 0u) {
    let at = 4u * (params.firstSlot + task.chunk) * params.allGroups + task.channel;
    partials[at] = Channel(merged.count);
    partials[at + params.allGroups] = merged.shift;
    partials[at + 2u * params.allGroups] = merged.delta;
    partials[at + 3u * params.allGroups] = merged.m2;
  }
}
