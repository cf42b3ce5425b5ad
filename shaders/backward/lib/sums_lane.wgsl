// Sums over a lane's chunk, run after run.
fn laneSums(task: Task, known: Saved, following: Saved) -> Sums {
  var sums = LaneSums();
  var run = cursorAt(task);
  var at = task.first;
  while (at < task.end) {
    let steps = runOf(run, task.end - at);
    var i = 0u;
    for (; i + 3u < steps; i += 4u) {
      sums = addedFour(sums, along(run, i), along(run, i + 1u), along(run, i + 2u), along(run, i + 3u), known, following);
    }
    for (; i < steps; i++) {
      sums = addedOne(sums, along(run, i), known, following);
    }
    run = nextRun(run, steps);
    at += steps;
  }
  return Sums(collapseSum(sums.dz.sum + sums.dz.lost), collapseSum(sums.dzXHat.sum + sums.dzXHat.lost));
}
