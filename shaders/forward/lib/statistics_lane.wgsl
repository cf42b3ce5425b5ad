// A lane's share of its chunk, run after run.
fn laneStatistics(task: Task) -> Statistics {
  var lane = Lane();
  var run = cursorAt(task);
  var at = task.first;
  let step = params.stepIndex;
  while (at < task.end) {
    let steps = runOf(run, task.end - at);
    var index = run.index;
    var i = 0u;
    for (; i + 3u < steps; i += 4u) {
      absorb4(&lane, loadX(index), loadX(index + step), loadX(index + 2u * step), loadX(index + 3u * step));
      index += 4u * step;
    }
    for (; i < steps; i++) {
      absorbBlock(&lane, 1.0, loadX(index), Value(), Value());
      index += step;
    }
    run = nextRun(run, steps);
    at += steps;
  }
  lane.m2 += lane.m2Lost;
  return collapse(lane);
}
