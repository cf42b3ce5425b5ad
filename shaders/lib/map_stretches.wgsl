// A chunk stretch after stretch.
fn mapChunk(task: Task, own: Known, following: Known) {
  var left = own;
  var channel = 0u;
  for (var begin = 0u; begin < params.inner;) {
    let stretch = stretchAt(task, begin, channel);
    let here = pickedKnown(left, stretch);
    mapAlong(stretch.cursor, stretch.walk, 0u, stretch.steps, here, here);
    if (stretch.ends) {
      left = turnedKnown(left);
      channel += 1u;
    }
    begin = stretch.end;
  }
}
