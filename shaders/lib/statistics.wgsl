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

// The mean is moved from that of more values: from an outlier alone it would be rounded as the outlier is.
fn merge(one: Statistics, other: Statistics) -> Statistics {
  let swaps = other.count > one.count;
  let shift = select(one.shift, other.shift, swaps);
  let delta = select(one.delta, other.delta, swaps);
  let few = min(one.count, other.count);
  let most = max(one.count, other.count);
  let count = most + few;
  let weight = few / max(count, Count(1.0));
  let distance = minusChannel(select(other.shift, one.shift, swaps), shift) +
                 minusChannel(select(other.delta, one.delta, swaps), delta);
  let m2 = (one.m2 + other.m2) + distance * distance * (most * weight);
  let both = anchored(count, shift, delta + distance * weight, m2);
  let alone = few == Count();
  return Statistics(count, select(both.shift, shift, alone), select(both.delta, delta, alone),
                    select(both.m2, select(one.m2, other.m2, swaps), alone));
}
