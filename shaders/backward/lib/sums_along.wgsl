// A lane's sums of dz and dz * xHat. Long sums without a long error: blocks of four are added plainly, blocks to each
// other by two-sum, what rounding lost carried beside. `visit` sees every dz.
struct LaneSum {
  sum: Value,
  lost: Value,
}

struct LaneSums {
  dz: LaneSum,
  dzXHat: LaneSum,
}

fn added(to: LaneSum, value: Value) -> LaneSum {
  let sum = fence(to.sum + value);
  let part = fence(sum - to.sum);
  let lost = fence(to.sum - fence(sum - part)) + fence(value - part);
  return LaneSum(sum, to.lost + lost);
}

fn addedFour(to: LaneSums, atA: Cursor, atB: Cursor, atC: Cursor, atD: Cursor, known: Saved, following: Saved) -> LaneSums {
  let a = gradientAt(atA.index, known);
  let b = gradientAt(atB.index, known);
  let c = gradientAt(atC.index, known);
  let d = gradientAt(atD.index, known);
  visit(atA, a, known, following);
  visit(atB, b, known, following);
  visit(atC, c, known, following);
  visit(atD, d, known, following);
  return LaneSums(added(to.dz, (a.dz + b.dz) + (c.dz + d.dz)),
                  added(to.dzXHat, (a.dz * a.xHat + b.dz * b.xHat) + (c.dz * c.xHat + d.dz * d.xHat)));
}

fn addedOne(to: LaneSums, at: Cursor, known: Saved, following: Saved) -> LaneSums {
  let each = gradientAt(at.index, known);
  visit(at, each, known, following);
  return LaneSums(added(to.dz, each.dz), added(to.dzXHat, each.dz * each.xHat));
}

fn sumsAlong(begin: Cursor, walk: Walk, first: u32, end: u32, known: Saved, following: Saved) -> LaneSums {
  var sums = LaneSums();
  var cursor = begin;
  var at = first;
  for (; at + 3u * TEAM < end; at += 4u * TEAM) {
    let atB = next(cursor, walk);
    let atC = next(atB, walk);
    let atD = next(atC, walk);
    sums = addedFour(sums, cursor, atB, atC, atD, known, following);
    cursor = next(atD, walk);
  }
  for (; at < end; at += TEAM) {
    sums = addedOne(sums, cursor, known, following);
    cursor = next(cursor, walk);
  }
  return sums;
}
