// The sums of a channel's chunks, in chunk order; every lane gets them.
fn channelSums(task: Task, local: u32) -> Sums {
  var mine = Sums();
  for (var chunk = task.lane; chunk < params.chunks; chunk += TEAM) {
    let at = 2u * chunk * params.groups + task.group;
    mine = Sums(mine.dz + partials[at], mine.dzXHat + partials[at + params.groups]);
  }
  return sumTeam(mine, task.lane, local);
}
