// A Value at a time, run after run, four to a turn of the loop.
fn mapChunk(task: Task, own: Known, following: Known) {
  var run = cursorAt(task);
  var at = task.first;
  while (at < task.end) {
    let steps = runOf(run, task.end - at);
    var cursor = run;
    var i = 0u;
    for (; i + 3u < steps; i += 4u) {
      mapAt(cursor, own, following);
      mapAt(along(cursor, 1u), own, following);
      mapAt(along(cursor, 2u), own, following);
      mapAt(along(cursor, 3u), own, following);
      cursor = along(cursor, 4u);
    }
    for (; i < steps; i++) {
      mapAt(cursor, own, following);
      cursor = along(cursor, 1u);
    }
    run = nextRun(run, steps);
    at += steps;
  }
}
