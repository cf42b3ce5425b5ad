// A Value at a time, beside its position in the mask.
fn mapChunk(task: Task, own: Known, following: Known) {
  let walk = chunkWalk();
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    mapMaskedAt(cursor, at, own, following);
    cursor = next(cursor, walk);
  }
}
