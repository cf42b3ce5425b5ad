// What a backward knows of a channel, spread over a Value: from mean, variance and gamma as the caller has them.
// There is no activation, so that beta is not asked for.
struct Saved {
  shift: Value,
  delta: Value,
  invStd: Value,
  gamma: Value,
  scale: Value,   // gamma * invStd
  offset: Value,
}

struct Gradient {
  dz: Value,
  xHat: Value,
}

fn savedOf(group: u32) -> Saved {
  let invStd = inverseStd(variance[group]);
  return Saved(spread(mean[group]), Value(), spread(invStd), spread(gamma[group]),
               spread(gamma[group] * invStd), Value());
}
