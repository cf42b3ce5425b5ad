// xHat = ((x - shift) - delta) * invStd, y = activation(gamma * xHat + beta + residual).
struct Normal {
  shift: Value,
  delta: Value,
  scale: Value,
  offset: Value,
}

fn normalOf(group: u32, shift: Channel, delta: Channel, invStd: Channel) -> Normal {
  return Normal(spread(shift), spread(delta), spread(gammaOf(group) * invStd), spread(betaOf(group)));
}

fn normalized(x: Value, index: u32, by: Normal) -> Value {
  let centred = minus(x, by.shift) - by.delta;
  return activate(addResidual(centred * by.scale + by.offset, index));
}
