// A Value at a time, wherever the lane's next one is, four to a turn of the loop.
fn mapChunk(task: Task, own: Known, following: Known) {
  let walk = chunkWalk();
  var cursor = cursorAt(task);
  var at = task.first;
  for (; at + 3u * TEAM < task.end; at += 4u * TEAM) {
    let atB = next(cursor, walk);
    let atC = next(atB, walk);
    let atD = next(atC, walk);
    mapAt(cursor, own, following);
    mapAt(atB, own, following);
    mapAt(atC, own, following);
    mapAt(atD, own, following);
    cursor = next(atD, walk);
  }
  for (; at < task.end; at += TEAM) {
    mapAt(cursor, own, following);
    cursor = next(cursor, walk);
  }
}
