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
