// dz = dy * activation'(z), beside xHat: what every backward kernel starts from.
// A channel's saved statistics, spread over a Value.
struct Saved {
  shift: Value,
  delta: Value,
  invStd: Value,
  gamma: Value,
  beta: Value,
}

struct Gradient {
  dz: Value,
  xHat: Value,
}

fn savedOf(group: u32) -> Saved {
  return Saved(spread(saved[group]), spread(saved[params.groups + group]),
               spread(saved[2u * params.groups + group]), spread(saved[3u * params.groups + group]),
               spread(saved[4u * params.groups + group]));
}

fn gradientAt(index: u32, known: Saved) -> Gradient {
  let xHat = (fence(loadX(index) - known.shift) - known.delta) * known.invStd;
  let z = addResidual(known.gamma * xHat + known.beta, index);
  return Gradient(loadDy(index) * activateGradient(z), xHat);
}
