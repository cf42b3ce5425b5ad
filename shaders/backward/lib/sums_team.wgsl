// Sums over this lane's share of its chunk.
fn laneSums(task: Task, known: Saved, following: Saved) -> Sums {
  var sums = LaneSums();
  var cursor = cursorAt(task);
  var at = task.first;
  while (at + 3u * TEAM < task.end) {
    let atB = next(cursor);
    let atC = next(atB);
    let atD = next(atC);
    sums = addedFour(sums, cursor, atB, atC, atD, known, following);
    cursor = next(atD);
    at += 4u * TEAM;
  }
  while (at < task.end) {
    sums = addedOne(sums, cursor, known, following);
    cursor = next(cursor);
    at += TEAM;
  }
  return Sums(collapseSum(sums.dz.sum + sums.dz.lost), collapseSum(sums.dzXHat.sum + sums.dzXHat.lost));
}
