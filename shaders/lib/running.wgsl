// Running statistics: running = (1 - momentum) * running + momentum * batch, on the GPU.
// The counter is incremented once a batch, before anyone who reads it runs.
fn countBatch(workgroup: vec3u, local: u32) {
  if (all(workgroup == vec3u()) && local == 0u && params.firstSlot == 0u && params.firstGroup == 0u) {
    let bits = state[params.counterAt];
    state[params.counterAt] = withCounter(bits, counterOf(bits) + 1u);
  }
}

fn updateRunning(group: u32, mean: Channel, variance: Channel) {
  var momentum = params.momentum;
  if (momentum < 0.0) {
    momentum = 1.0 / f32(counterOf(state[params.counterAt]));
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
