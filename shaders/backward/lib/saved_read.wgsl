// A channel's saved statistics, spread over a Value.
struct Saved {
  shift: Value,
  delta: Value,
  invStd: Value,
  gamma: Value,
  scale: Value,   // gamma * invStd
  offset: Value,  // beta
}

struct Gradient {
  dz: Value,
  xHat: Value,
}

fn savedOf(group: u32) -> Saved {
  let invStd = saved[2u * params.allGroups + group];
  let gamma = saved[3u * params.allGroups + group];
  return Saved(spread(saved[group]), spread(saved[params.allGroups + group]), spread(invStd),
               spread(gamma), spread(gamma * invStd), spread(saved[4u * params.allGroups + group]));
}
