// dGamma and dBeta, a team per channel group: the sums of all parts, of all params.extra ghosts, whose long chain is
// compensated.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let groups = params.allGroups / params.extra;
  let first = task.channel % groups;
  var dGamma = ChannelSum();
  var dBeta = ChannelSum();
  for (var at = 0u; at < params.allGroups; at += groups) {
    let total = channelSums(at + first, task.lane, local);
    dGamma = addedPartial(dGamma, gammaGradient(at + first, total));
    dBeta = addedPartial(dBeta, total.dz);
    if (TEAM > 1u) { workgroupBarrier(); }
  }
  if (learnsFrom(task) && task.channel < groups) {
    storeDGamma(first, dGamma.sum);
    storeDBeta(first, dBeta.sum);
  }
}
