// dz = dy * activation'(z), beside xHat: what every backward kernel starts from.
// A channel's saved statistics, spread over a Value.
struct Saved {
  shift: Value,
  delta: Value,
  invStd: Value,
  scale: Value,   // gamma * invStd
  offset: Value,  // beta
}

struct Gradient {
  dz: Value,
  xHat: Value,
}

fn savedOf(group: u32) -> Saved {
  let invStd = saved[2u * params.groups + group];
  return Saved(spread(saved[group]), spread(saved[params.groups + group]), spread(invStd),
               spread(saved[3u * params.groups + group] * invStd),
               spread(saved[4u * params.groups + group]));
}

fn gradientAt(index: u32, known: Saved) -> Gradient {
  let centred = fence(loadX(index) - known.shift) - known.delta;
  let z = addResidual(centred * known.scale + known.offset, index);
  return Gradient(loadDy(index) * activateGradient(z), centred * known.invStd);
}
