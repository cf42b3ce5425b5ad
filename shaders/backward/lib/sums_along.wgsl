// A lane's sums of dz and dz * xHat. Long sums without a long error: blocks of four are added plainly, each block with what
// rounding has lost before (Kahan 1965). `visit` sees every dz.
struct LaneSum {
  sum: Value,
  lost: Value,
}

struct LaneSums {
  dz: Value,
  dzXHat: Value,
}

fn added(to: LaneSum, value: Value) -> LaneSum {
  let term = plus(value, to.lost);
  let sum = plus(to.sum, term);
  return LaneSum(sum, minus(term, minus(sum, to.sum)));
}

fn sumsAlong(begin: Cursor, walk: Walk, first: u32, end: u32, known: Saved, following: Saved) -> LaneSums {
  var dz = LaneSum();
  var dzXHat = LaneSum();
  var cursor = begin;
  var at = first;
  for (; at + 3u * TEAM < end; at += 4u * TEAM) {
    let atB = next(cursor, walk);
    let atC = next(atB, walk);
    let atD = next(atC, walk);
    let a = gradientAt(cursor.index, known);
    let b = gradientAt(atB.index, known);
    let c = gradientAt(atC.index, known);
    let d = gradientAt(atD.index, known);
    visit(cursor, a, known, following);
    visit(atB, b, known, following);
    visit(atC, c, known, following);
    visit(atD, d, known, following);
    dz = added(dz, (a.dz + b.dz) + (c.dz + d.dz));
    dzXHat = added(dzXHat, (a.dz * a.xHat + b.dz * b.xHat) + (c.dz * c.xHat + d.dz * d.xHat));
    cursor = next(atD, walk);
  }
  if (!EVEN && at < end) {
    // One to three are left, a block of their own.
    var blockDz = Value();
    var blockDzXHat = Value();
    for (; at < end; at += TEAM) {
      let each = gradientAt(cursor.index, known);
      visit(cursor, each, known, following);
      blockDz += each.dz;
      blockDzXHat += each.dz * each.xHat;
      cursor = next(cursor, walk);
    }
    dz = added(dz, blockDz);
    dzXHat = added(dzXHat, blockDzXHat);
  }
  return LaneSums(dz.sum, dzXHat.sum);
}
