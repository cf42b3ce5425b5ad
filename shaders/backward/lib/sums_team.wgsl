// Sums of dz and dz * xHat over this lane's share of its chunk; `visit` sees every dz.
fn laneSums(task: Task, known: Saved, following: Saved) -> Sums {
  var dz = LaneSum();
  var dzXHat = LaneSum();
  var cursor = cursorAt(task);
  var at = task.first;
  while (at + 3u * TEAM < task.end) {
    let atA = cursor;
    let atB = next(atA);
    let atC = next(atB);
    let atD = next(atC);
    cursor = next(atD);
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
    at += 4u * TEAM;
  }
  while (at < task.end) {
    let each = gradientAt(cursor.index, known);
    visit(cursor, each, known, following);
    dz = added(dz, each.dz);
    dzXHat = added(dzXHat, each.dz * each.xHat);
    cursor = next(cursor);
    at += TEAM;
  }
  return Sums(collapseSum(dz.sum + dz.lost), collapseSum(dzXHat.sum + dzXHat.lost));
}
