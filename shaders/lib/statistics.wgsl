// Mean and sum of squared deviations that do not cancel: mean = shift + delta, kept apart to the end.
// Every block of Values is centred on one of its own, blocks merge by Chan, Golub and LeVeque's formula
// (1983), and the mean is split anew after each merge (Knuth's two-sum), so that shift stays beside the
// mean whatever came first, an outlier too.
struct Statistics {
  count: f32,
  shift: Channel,
  delta: Channel,
  m2: Channel,
}

// One lane's running statistics, each component of a Value for itself; m2Lost carries what m2 rounded off.
struct Lane {
  count: f32,
  shift: Value,
  delta: Value,
  m2: Value,
  m2Lost: Value,
}

fn anchored(count: f32, shift: Channel, delta: Channel, m2: Channel) -> Statistics {
  let mean = fenceChannel(shift + delta);
  let part = fenceChannel(mean - shift);
  let lost = fenceChannel(shift - fenceChannel(mean - part)) + fenceChannel(delta - part);
  return Statistics(count, mean, lost, m2);
}

fn merge(a: Statistics, b: Statistics) -> Statistics {
  if (b.count == 0.0) { return a; }
  if (a.count == 0.0) { return b; }
  let count = a.count + b.count;
  let weight = b.count / count;
  let distance = fenceChannel(b.shift - a.shift) + fenceChannel(b.delta - a.delta);
  let m2 = (a.m2 + b.m2) + distance * distance * (a.count * weight);
  return anchored(count, a.shift, a.delta + distance * weight, m2);
}

fn absorbBlock(lane: ptr<function, Lane>, count: f32, shift: Value, mean: Value, m2: Value) {
  if ((*lane).count == 0.0) {
    *lane = Lane(count, shift, mean, m2, Value());
    return;
  }
  let total = (*lane).count + count;
  let weight = count / total;
  let distance = fence(shift - (*lane).shift) + fence(mean - (*lane).delta);
  let delta = (*lane).delta + distance * weight;
  let added = m2 + distance * distance * ((*lane).count * weight);

  let sum = fence((*lane).m2 + added);
  let sumPart = fence(sum - (*lane).m2);
  (*lane).m2Lost += fence((*lane).m2 - fence(sum - sumPart)) + fence(added - sumPart);
  (*lane).m2 = sum;

  let anchor = fence((*lane).shift + delta);
  let part = fence(anchor - (*lane).shift);
  (*lane).delta = fence((*lane).shift - fence(anchor - part)) + fence(delta - part);
  (*lane).shift = anchor;
  (*lane).count = total;
}

fn absorb4(lane: ptr<function, Lane>, a: Value, b: Value, c: Value, d: Value) {
  let fromB = fence(b - a);
  let fromC = fence(c - a);
  let fromD = fence(d - a);
  let mean = (fromB + (fromC + fromD)) * 0.25;
  let restB = fromB - mean;
  let restC = fromC - mean;
  let restD = fromD - mean;
  let m2 = (mean * mean + restB * restB) + (restC * restC + restD * restD);
  absorbBlock(lane, 4.0, a, mean, m2);
}
