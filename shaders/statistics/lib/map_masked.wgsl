// A Value at a time, beside its position in the mask; whether its channel is the last.
fn mapChunk(task: Task, own: Known, following: Known) {
  let walk = chunkWalk();
  let last = task.channel + 1u == params.allGroups;
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    mapMaskedAt(cursor, at, last, own, following);
    cursor = next(cursor, walk);
  }
}
