// One lane's share of a channel's parts, in their order. M2's long chain is compensated: every part hands over
// what rounding lost as a part of its own does.
fn laneParts(group: u32, lane: u32) -> Part {
  var merged = Part();
  var lost = Channel();
  for (var slot = lane; slot < params.slots; slot += TEAM) {
    let at = 4u * slot * params.allGroups + group;
    let count = firstWord(partials[at]);
    if (count == 0u) { continue; }
    let next = Part(count, bitcast<Channel>(partials[at + params.allGroups]),
                    bitcast<Channel>(partials[at + 2u * params.allGroups]),
                    bitcast<Channel>(partials[at + 3u * params.allGroups]));
    if (merged.count == 0u) {
      merged = next;
      continue;
    }
    // The squares between the two means and within the next part, with what rounding has lost before.
    let both = mergePair(Part(merged.count, merged.shift, merged.delta, Channel()), next);
    let added = plusChannel(both.m2, lost);
    let sum = plusChannel(merged.m2, added);
    lost = minusChannel(added, minusChannel(sum, merged.m2));
    merged = Part(both.count, both.shift, both.delta, sum);
  }
  return merged;
}
