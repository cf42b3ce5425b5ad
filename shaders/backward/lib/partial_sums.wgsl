// The sums of a channel's chunks, in chunk order; every lane gets them.
fn partialSumsAt(slot: u32, group: u32) -> Sums {
  let at = 2u * slot * params.allGroups + group;
  return Sums(partials[at], partials[at + params.allGroups]);
}

// A sum and what rounding has lost of it, which the next term takes along: there may be thousands of chunks.
struct ChannelSum {
  sum: Channel,
  lost: Channel,
}

fn addedPartial(to: ChannelSum, value: Channel) -> ChannelSum {
  let term = plusChannel(value, to.lost);
  let sum = plusChannel(to.sum, term);
  return ChannelSum(sum, minusChannel(term, minusChannel(sum, to.sum)));
}

fn channelSums(group: u32, lane: u32, local: u32) -> Sums {
  if (params.slots == 1u) { return partialSumsAt(0u, group); }
  var dz = ChannelSum();
  var dzXHat = ChannelSum();
  for (var slot = lane; slot < params.slots; slot += TEAM) {
    let each = partialSumsAt(slot, group);
    dz = addedPartial(dz, each.dz);
    dzXHat = addedPartial(dzXHat, each.dzXHat);
  }
  return sumTeam(Sums(dz.sum, dzXHat.sum), lane, local);
}
