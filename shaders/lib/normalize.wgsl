// xHat = ((x - shift) - delta) * invStd, y = activation(gamma * xHat + beta + residual).
struct Normal {
  shift: Value,
  delta: Value,
  scale: Value,
  offset: Value,
}

fn inverseStd(variance: Channel) -> Channel {
  let shifted = variance + params.eps;
  return select(1.0 / sqrt(shifted), Channel(0.0), shifted <= Channel(0.0));
}

fn normalOf(group: u32, shift: Channel, delta: Channel, invStd: Channel) -> Normal {
  return Normal(spread(shift), spread(delta), spread(gammaOf(group) * invStd), spread(betaOf(group)));
}

fn normalized(x: Value, index: u32, by: Normal) -> Value {
  let centred = fence(x - by.shift) - by.delta;
  return activate(addResidual(centred * by.scale + by.offset, index));
}
