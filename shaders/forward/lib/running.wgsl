// Running statistics: running = (1 - momentum) * running + momentum * batch, on the GPU.
// The counter is incremented once a batch, before anyone who reads it runs.
fn countBatch(workgroup: vec3u, local: u32) {
  if (all(workgroup == vec3u()) && local == 0u && params.firstSlot == 0u && params.firstGroup == 0u) {
    let before = loadCounter();
    let low = before.x + 1u;
    storeCounter(vec2u(low, before.y + select(0u, 1u, low == 0u)));
  }
}

fn updateRunning(group: u32, mean: Channel, variance: Channel) {
  var momentum = params.momentum;
  if (momentum < 0.0) {
    let counter = loadCounter();
    momentum = 1.0 / (f32(counter.y) * 4294967296.0 + f32(counter.x));
  }
  let oldMean = bitcast<Channel>(state[group]);
  let oldVariance = bitcast<Channel>(state[params.varianceAt + group]);
  let keep = 1.0 - momentum;
  // momentum 1 forgets, whatever was there (0 * NaN is NaN)
  let newMean = select(keep * oldMean + momentum * mean, mean, momentum == 1.0);
  let newVariance = select(keep * oldVariance + momentum * (variance * params.unbiased),
                           variance * params.unbiased, momentum == 1.0);
  state[group] = bitcast<ChannelBits>(newMean);
  state[params.varianceAt + group] = bitcast<ChannelBits>(newVariance);
}
