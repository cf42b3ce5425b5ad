// A lane's share of its chunk, stretch after stretch.
fn laneStatistics(task: Task) -> Statistics {
  var done = Statistics();
  var own = vec4f();
  var following = vec4f();
  var channel = 0u;
  for (var begin = firstPlace(task); begin < params.inner;) {
    let stretch = stretchAt(task, begin);
    for (; channel < stretch.channel; channel++) {
      put(&done, channel, own);
      own = following;
      following = vec4f();
    }
    let lane = statisticsAlong(stretch.cursor, stretch.walk, 0u, stretch.end);
    for (var number = 0u; number < 4u; number++) {
      let one = vec4f(lane.count, lane.shift[number], lane.delta[number], lane.m2[number]);
      let second = stretch.second[number];
      let merged = mergeOnes(select(own, following, second), one);
      own = select(merged, own, second);
      following = select(following, merged, second);
    }
    begin = stretch.next;
  }
  put(&done, channel, own);
  if (channel < 3u) { put(&done, channel + 1u, following); }
  return done;
}

// Not `count[channel] = …`: what Naga makes of that is none to Direct3D's older compiler.
fn put(all: ptr<function, Statistics>, channel: u32, one: vec4f) {
  let its = vec4u(channel) == vec4u(0u, 1u, 2u, 3u);
  (*all).count = select((*all).count, vec4f(one.x), its);
  (*all).shift = select((*all).shift, vec4f(one.y), its);
  (*all).delta = select((*all).delta, vec4f(one.z), its);
  (*all).m2 = select((*all).m2, vec4f(one.w), its);
}

fn plusOne(a: f32, b: f32) -> f32 { return plusChannel(Channel(a), Channel(b)).x; }
fn minusOne(a: f32, b: f32) -> f32 { return minusChannel(Channel(a), Channel(b)).x; }

// Statistics of one channel: count, shift, delta, M2; as `merge` has them.
fn mergeOnes(one: vec4f, other: vec4f) -> vec4f {
  let swaps = other.x > one.x;
  let a = select(one, other, swaps);
  let b = select(other, one, swaps);
  if (b.x == 0.0) { return a; }
  let count = a.x + b.x;
  let weight = b.x / count;
  let distance = minusOne(b.y, a.y) + minusOne(b.z, a.z);
  let m2 = (a.w + b.w) + distance * distance * (a.x * weight);
  let delta = a.z + distance * weight;
  let mean = plusOne(a.y, delta);
  let part = minusOne(mean, a.y);
  return vec4f(count, mean, minusOne(a.y, minusOne(mean, part)) + minusOne(delta, part), m2);
}
