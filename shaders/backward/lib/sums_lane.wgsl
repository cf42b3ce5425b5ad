// Sums of dz and dz * xHat over a lane's chunk, run after run; `visit` sees every dz.
fn laneSums(task: Task, known: Saved, following: Saved) -> Sums {
  var dz = LaneSum();
  var dzXHat = LaneSum();
  var run = cursorAt(task);
  var at = task.first;
  while (at < task.end) {
    let steps = runOf(run, task.end - at);
    var i = 0u;
    for (; i + 3u < steps; i += 4u) {
      let atA = along(run, i);
      let atB = along(atA, 1u);
      let atC = along(atB, 1u);
      let atD = along(atC, 1u);
      let a = gradientAt(atA.index, known);
      let b = gradientAt(atB.index, known);
      let c = gradientAt(atC.index, known);
      let d = gradientAt(atD.index, known);
      visit(atA, a, known, following);
      visit(atB, b, known, following);
      visit(atC, c, known, following);
      visit(atD, d, known, following);
      dz = added(dz, (a.dz + b.dz) + (c.dz + d.dz));
      dzXHat = added(dzXHat, (a.dz * a.xHat + b.dz * b.xHat) + (c.dz * c.xHat + d.dz * d.xHat));
    }
    for (; i < steps; i++) {
      let cursor = along(run, i);
      let each = gradientAt(cursor.index, known);
      visit(cursor, each, known, following);
      dz = added(dz, each.dz);
      dzXHat = added(dzXHat, each.dz * each.xHat);
    }
    run = nextRun(run, steps);
    at += steps;
  }
  return Sums(collapseSum(dz.sum + dz.lost), collapseSum(dzXHat.sum + dzXHat.lost));
}
