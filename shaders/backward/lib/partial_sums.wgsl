// The sums of a channel's chunks, in chunk order; every lane gets them.
fn partialSumsAt(slot: u32, group: u32) -> Sums {
  let at = 2u * slot * params.allGroups + group;
  return Sums(partials[at], partials[at + params.allGroups]);
}

fn channelSums(group: u32, lane: u32, local: u32) -> Sums {
  if (params.slots == 1u) { return partialSumsAt(0u, group); }
  var mine = Sums();
  for (var slot = lane; slot < params.slots; slot += TEAM) {
    let each = partialSumsAt(slot, group);
    mine = Sums(mine.dz + each.dz, mine.dzXHat + each.dzXHat);
  }
  return sumTeam(mine, lane, local);
}
