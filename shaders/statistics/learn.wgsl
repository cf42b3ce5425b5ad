// Running statistics and the batch counter, in one workgroup: everybody reads the counter, then one writes it.
// params.extra ghosts count as so many batches, one after another (Hoffer, Hubara and Soudry 2017, algorithm 1);
// empty ones do not count. running = (1 - momentum) * running + momentum * batch.
fn momentumAt(before: vec2u, batch: u32) -> f32 {
  if (params.momentum >= 0.0) { return params.momentum; }
  return 1.0 / (f32(before.y) * 4294967296.0 + f32(before.x) + f32(batch));
}

// momentum 1 forgets, whatever was there (0 * NaN is NaN)
fn moved(old: Channel, own: Channel, momentum: f32) -> Channel {
  return select((1.0 - momentum) * old + momentum * own, own, momentum == 1.0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) local: u32) {
  let groups = params.allGroups / params.extra;
  let before = loadCounter();
  var batches = 0u;
  for (var group = local; group < groups; group += WORKGROUP_SIZE) {
    var mean = bitcast<Channel>(state[group]);
    var variance = bitcast<Channel>(state[params.varianceAt + group]);
    batches = 0u;
    for (var at = group; at < params.allGroups; at += groups) {
      let perCount = countOf(saved[5u * params.allGroups + at]);
      if (perCount == 0.0) { continue; }
      batches += 1u;
      let momentum = momentumAt(before, batches);
      let own = saved[6u * params.allGroups + at];
      mean = moved(mean, saved[at], momentum);
      variance = movedVariance(variance, learnedVariance(own, perCount), momentum);
      learnRenorm(group, saved[at], own);
    }
    state[group] = bitcast<ChannelBits>(mean);
    state[params.varianceAt + group] = bitcast<ChannelBits>(variance);
  }
  storageBarrier();
  if (local == 0u) {
    let low = before.x + batches;
    storeCounter(vec2u(low, before.y + select(0u, 1u, low < before.x)));
  }
}
