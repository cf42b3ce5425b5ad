// From the parts of a channel to what normalising it and its backward need, a team per channel group:
// `saved`, plane after plane of one f32 per channel:
// shift, delta, invStd, gamma * r, beta + gamma * d, 1 / M, variance, and r, d of batch renormalization.
// M = 0, which is where every part is empty: mean and variance 0, 1 / M = 0.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let merged = mergeParts(laneParts(task.channel, task.lane), task.lane, local);
  if (!learnsFrom(task)) { return; }
  let group = task.channel;
  let perCount = select(0.0, 1.0 / f32(merged.count), merged.count > 0u);
  let own = anchored(Count(f32(merged.count)), merged.shift, merged.delta, merged.m2);
  let variance = own.m2 * perCount;
  let correction = correctionOf(group, own.shift, own.delta, variance);
  let gamma = gammaOf(group);
  saved[group] = own.shift;
  saved[params.allGroups + group] = own.delta;
  saved[2u * params.allGroups + group] = inverseStd(variance);
  saved[3u * params.allGroups + group] = gamma * correction.r;
  saved[4u * params.allGroups + group] = betaOf(group) + gamma * correction.d;
  saved[5u * params.allGroups + group] = Channel(perCount);
  saved[6u * params.allGroups + group] = variance;
  saveCorrection(group, correction);
}
