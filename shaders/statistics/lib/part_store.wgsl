fn storePart(slot: u32, group: u32, part: Part) {
  let at = 4u * slot * params.allGroups + group;
  statistics[at] = ChannelBits(part.count);
  statistics[at + params.allGroups] = bitcast<ChannelBits>(part.shift);
  statistics[at + 2u * params.allGroups] = bitcast<ChannelBits>(part.delta);
  statistics[at + 3u * params.allGroups] = bitcast<ChannelBits>(part.m2);
}
