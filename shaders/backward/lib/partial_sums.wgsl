// The sums of a channel's chunks, in chunk order; every lane gets them.
fn channelSums(group: u32, lane: u32, local: u32) -> Sums {
  var mine = Sums();
  for (var chunk = lane; chunk < params.slots; chunk += TEAM) {
    let at = 2u * chunk * params.allGroups + group;
    mine = Sums(mine.dz + partials[at], mine.dzXHat + partials[at + params.allGroups]);
  }
  return sumTeam(mine, lane, local);
}
