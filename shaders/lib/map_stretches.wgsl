// A Value at a time, stretch after stretch. In one loop: on software adapters a second is dear for the few Values that
// a stretch of few rows has.
fn mapChunk(task: Task, own: Known, following: Known) {
  var left = own;
  var channel = 0u;
  for (var begin = 0u; begin < params.inner;) {
    let stretch = stretchAt(task, begin, channel);
    let here = pickedKnown(left, stretch);
    var cursor = stretch.cursor;
    for (var i = 0u; i < stretch.steps; i++) {
      mapAt(cursor, here, here);
      cursor = next(cursor, stretch.walk);
    }
    if (stretch.ends) {
      left = turnedKnown(left);
      channel += 1u;
    }
    begin = stretch.end;
  }
}
