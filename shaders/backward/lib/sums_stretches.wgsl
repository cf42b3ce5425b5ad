// A lane's share of its chunk, stretch after stretch.
fn laneSums(task: Task, known: Saved, following: Saved) -> Sums {
  var done = Sums();
  var own = vec2f();
  var later = vec2f();
  var left = known;
  var channel = 0u;
  for (var begin = 0u; begin < params.inner;) {
    let stretch = stretchAt(task, begin, channel);
    let here = pickedSaved(left, stretch);
    let sums = sumsAlong(stretch.cursor, stretch.walk, 0u, stretch.steps, here, here);
    own += split(sums, !stretch.second);
    later += split(sums, stretch.second);
    if (stretch.ends) {
      done = Sums(Channel(done.dz.yzw, own.x), Channel(done.dzXHat.yzw, own.y));
      own = later;
      later = vec2f();
      left = turnedSaved(left);
      channel += 1u;
    }
    begin = stretch.end;
  }
  return done;
}

// The share of one channel.
fn split(sums: LaneSums, its: vec4<bool>) -> vec2f {
  return vec2f(total(select(Value(), sums.dz, its)), total(select(Value(), sums.dzXHat, its)));
}

fn total(value: Value) -> f32 { return (value.x + value.y) + (value.z + value.w); }
