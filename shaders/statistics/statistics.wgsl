// The statistics of every chunk, as parts. Grid: a team per (channel group, chunk).
// Passes over x: 1 (4 bytes an f32; a mask adds 4 a position). Barriers: log2(TEAM) + 1, side by side 5.
// Error: as the core's forward/statistics.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let merged = mergeTeam(laneStatistics(task), task.lane, local);
  if (task.valid && task.lane == 0u) {
    let own = anchored(merged.count, merged.shift, merged.delta, merged.m2);
    let count = u32(countOf(Channel(own.count)));
    storePart(params.firstSlot + task.chunk, task.channel, Part(count, own.shift, own.delta, own.m2));
  }
}
