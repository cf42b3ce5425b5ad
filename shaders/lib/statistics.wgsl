// Mean and sum of squared deviations that do not cancel: mean = shift + delta, kept apart to the end.
// The first block of Values is centred on one of its own and every other on the mean so far, blocks merge by Chan, Golub
// and LeVeque's formula (1983), and the mean is split anew after each merge (Knuth's two-sum), so that shift stays beside
// the mean whatever came first, an outlier too.
struct Statistics {
  count: Count,
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

fn anchored(count: Count, shift: Channel, delta: Channel, m2: Channel) -> Statistics {
  let mean = plusChannel(shift, delta);
  let part = minusChannel(mean, shift);
  let lost = minusChannel(shift, minusChannel(mean, part)) + minusChannel(delta, part);
  return Statistics(count, mean, lost, m2);
}

fn merge(a: Statistics, b: Statistics) -> Statistics {
  let count = a.count + b.count;
  let weight = b.count / max(count, Count(1.0));
  let distance = minusChannel(b.shift, a.shift) + minusChannel(b.delta, a.delta);
  let m2 = (a.m2 + b.m2) + distance * distance * (a.count * weight);
  let both = anchored(count, a.shift, a.delta + distance * weight, m2);
  let first = b.count == Count();
  let second = a.count == Count();
  return Statistics(count, select(select(both.shift, b.shift, second), a.shift, first),
                    select(select(both.delta, b.delta, second), a.delta, first),
                    select(select(both.m2, b.m2, second), a.m2, first));
}
