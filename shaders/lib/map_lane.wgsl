// A Value at a time, run after run.
fn mapChunk(task: Task, own: Known, following: Known) {
  var run = cursorAt(task);
  var at = task.first;
  while (at < task.end) {
    let steps = runOf(run, task.end - at);
    var cursor = run;
    for (var i = 0u; i < steps; i++) {
      mapAt(cursor, own, following);
      cursor = along(cursor, 1u);
    }
    run = nextRun(run, steps);
    at += steps;
  }
}
