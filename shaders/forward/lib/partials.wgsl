// What a chunk left: planes of count, shift, delta and M2. Past the last there is nothing.
fn partialAt(chunk: u32, group: u32) -> Statistics {
  if (chunk >= params.slots) { return Statistics(); }
  let at = 4u * chunk * params.allGroups + group;
  return Statistics(Count(countOf(partials[at])), partials[at + params.allGroups],
                    partials[at + 2u * params.allGroups], partials[at + 3u * params.allGroups]);
}

// A channel's chunks merged, a lane's four at a time, in a fixed order; every lane gets the result. There may be thousands:
// M2 takes along what rounding has lost of it.
fn channelStatistics(group: u32, lane: u32, local: u32) -> Statistics {
  var merged = Statistics();
  var lost = Channel();
  for (var chunk = lane; chunk < params.slots; chunk += 4u * TEAM) {
    let a = partialAt(chunk, group);
    let b = partialAt(chunk + TEAM, group);
    let c = partialAt(chunk + 2u * TEAM, group);
    let d = partialAt(chunk + 3u * TEAM, group);
    let before = merged.m2;
    merged.m2 = Channel();
    merged = merge(merged, merge(merge(a, b), merge(c, d)));
    let added = plusChannel(merged.m2, lost);
    merged.m2 = plusChannel(before, added);
    lost = minusChannel(added, minusChannel(merged.m2, before));
  }
  return mergeTeam(merged, lane, local);
}
