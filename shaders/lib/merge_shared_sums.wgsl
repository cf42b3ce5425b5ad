// A team adds through workgroup memory, a tree of fixed order. Every lane gets the result.
var<workgroup> sharedDz: array<Channel, WORKGROUP_SIZE>;
var<workgroup> sharedDzXHat: array<Channel, WORKGROUP_SIZE>;

fn sumTeam(mine: Sums, lane: u32, local: u32) -> Sums {
  var sums = mine;
  sharedDz[local] = sums.dz;
  sharedDzXHat[local] = sums.dzXHat;
  for (var step = TEAM / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) {
      let other = local + step * LANE_STRIDE;
      sums = Sums(sums.dz + sharedDz[other], sums.dzXHat + sharedDzXHat[other]);
      sharedDz[local] = sums.dz;
      sharedDzXHat[local] = sums.dzXHat;
    }
  }
  workgroupBarrier();
  let first = local - lane * LANE_STRIDE;
  return Sums(sharedDz[first], sharedDzXHat[first]);
}
