// dx of one chunk.
fn inputGradientChunk(task: Task, own: Sums, following: Sums, known: Saved, knownFollowing: Saved) {
  let means = meansOf(own);
  let meansFollowing = meansOf(following);
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    storeInputGradient(cursor, known, means, knownFollowing, meansFollowing);
    cursor = next(cursor);
  }
}
