// Long sums without a long error: blocks of four are added plainly, blocks to each other by two-sum,
// what rounding lost carried beside.
struct LaneSum {
  sum: Value,
  lost: Value,
}

fn added(to: LaneSum, value: Value) -> LaneSum {
  let sum = fence(to.sum + value);
  let part = fence(sum - to.sum);
  let lost = fence(to.sum - fence(sum - part)) + fence(value - part);
  return LaneSum(sum, to.lost + lost);
}

// Sums of dz and dz * xHat over this lane's share of its chunk; `visit` sees every dz.
fn laneSums(task: Task, known: Saved) -> Sums {
  var dz = LaneSum();
  var dzXHat = LaneSum();
  var cursor = cursorAt(task);
  var at = task.first;
  while (at + 3u * TEAM < task.end) {
    let ia = cursor.index;
    cursor = next(cursor);
    let ib = cursor.index;
    cursor = next(cursor);
    let ic = cursor.index;
    cursor = next(cursor);
    let id = cursor.index;
    cursor = next(cursor);
    let a = gradientAt(ia, known);
    let b = gradientAt(ib, known);
    let c = gradientAt(ic, known);
    let d = gradientAt(id, known);
    visit(ia, a, known);
    visit(ib, b, known);
    visit(ic, c, known);
    visit(id, d, known);
    dz = added(dz, (a.dz + b.dz) + (c.dz + d.dz));
    dzXHat = added(dzXHat, (a.dz * a.xHat + b.dz * b.xHat) + (c.dz * c.xHat + d.dz * d.xHat));
    at += 4u * TEAM;
  }
  while (at < task.end) {
    let each = gradientAt(cursor.index, known);
    visit(cursor.index, each, known);
    dz = added(dz, each.dz);
    dzXHat = added(dzXHat, each.dz * each.xHat);
    cursor = next(cursor);
    at += TEAM;
  }
  return Sums(collapseSum(dz.sum + dz.lost), collapseSum(dzXHat.sum + dzXHat.lost));
}
