// Sums over a lane's chunk, stretch after stretch.
fn laneSums(task: Task, known: Saved, following: Saved) -> Sums {
  let rows = (task.end - task.first) / params.inner;
  let index = cursorAt(task).index;
  var done = Sums();
  var own = vec2f();
  var next = vec2f();
  var left = known;
  var channel = 0u;
  for (var begin = 0u; begin < params.inner;) {
    let stretch = stretchAt(begin, channel);
    let here = pickedSaved(left, stretch);
    let steps = rows * (stretch.end - begin);
    var sums = LaneSums();
    var cursor = Cursor(index + begin, begin);
    var i = 0u;
    for (; i + 3u < steps; i += 4u) {
      let atB = onward(cursor, stretch);
      let atC = onward(atB, stretch);
      let atD = onward(atC, stretch);
      sums = addedFour(sums, cursor, atB, atC, atD, here, here);
      cursor = onward(atD, stretch);
    }
    for (; i < steps; i++) {
      sums = addedOne(sums, cursor, here, here);
      cursor = onward(cursor, stretch);
    }
    own += split(sums, !stretch.second);
    next += split(sums, stretch.second);
    if (stretch.ends) {
      done = Sums(Channel(done.dz.yzw, own.x), Channel(done.dzXHat.yzw, own.y));
      own = next;
      next = vec2f();
      left = turnedSaved(left);
      channel += 1u;
    }
    begin = stretch.end;
  }
  return done;
}

// The share of one channel.
fn split(sums: LaneSums, its: vec4<bool>) -> vec2f {
  return vec2f(total(select(Value(), sums.dz.sum + sums.dz.lost, its)),
               total(select(Value(), sums.dzXHat.sum + sums.dzXHat.lost, its)));
}

fn total(value: Value) -> f32 { return (value.x + value.y) + (value.z + value.w); }
