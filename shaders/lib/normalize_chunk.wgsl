// y of one chunk.
fn normalizeChunk(task: Task, own: Normal, following: Normal) {
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    normalizeAt(cursor, own, following);
    cursor = next(cursor);
  }
}
