// Any number of parts become one, a team per channel group, in a fixed order: lane after lane takes every
// TEAM-th part, a tree merges the lanes. Barriers: log2(TEAM) + 1.
// Error: that of M2 is (2 + log2(TEAM)) * 2^-24, however many parts: the long chain is compensated.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let merged = mergeParts(laneParts(task.channel, task.lane), task.lane, local);
  if (learnsFrom(task)) {
    storePart(params.extra, task.channel, merged);
  }
}
