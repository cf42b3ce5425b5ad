// A Value at a time, wherever the lane's next one is.
fn mapChunk(task: Task, own: Known, following: Known) {
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    mapAt(cursor, own, following);
    cursor = next(cursor);
  }
}
