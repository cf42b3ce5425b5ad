// The sums of any number of parts become one, in a fixed order, a team per channel group: plane after plane
// sum dz (which is dBeta), sum dz * xHat. Barriers: 2.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let merged = channelSums(task.channel, task.lane, local);
  if (learnsFrom(task)) {
    let at = 2u * params.extra * params.allGroups + task.channel;
    sums[at] = merged.dz;
    sums[at + params.allGroups] = merged.dzXHat;
  }
}
