// A lane's share of its chunk, stretch after stretch.
fn laneSums(task: Task, known: Saved, following: Saved) -> Sums {
  var done = Sums();
  for (var begin = firstPlace(task); begin < params.inner;) {
    let stretch = stretchAt(task, begin);
    let here = pickedSaved(known, stretch);
    let sums = sumsAlong(stretch.cursor, stretch.walk, 0u, stretch.end, here, here);
    let own = split(sums, !stretch.second);
    let later = split(sums, stretch.second);
    let channel = stretch.channel;
    done.dz += only(own.x, channel) + only(later.x, channel + 1u);
    done.dzXHat += only(own.y, channel) + only(later.y, channel + 1u);
    begin = stretch.next;
  }
  return done;
}

// One of the four channels' number, beside none of the others.
fn only(number: f32, channel: u32) -> Channel {
  return select(Channel(), Channel(number), vec4u(channel) == vec4u(0u, 1u, 2u, 3u));
}

// The share of one channel.
fn split(sums: LaneSums, its: vec4<bool>) -> vec2f {
  return vec2f(total(select(Value(), sums.dz, its)), total(select(Value(), sums.dzXHat, its)));
}

fn total(value: Value) -> f32 { return (value.x + value.y) + (value.z + value.w); }
