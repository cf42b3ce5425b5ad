// A Value at a time, stretch after stretch. One loop a stretch: on software adapters a loop is dear to enter.
fn mapChunk(task: Task, own: Known, following: Known) {
  let rows = (task.end - task.first) / params.inner;
  let index = cursorAt(task).index;
  var left = own;
  var channel = 0u;
  for (var begin = 0u; begin < params.inner;) {
    let stretch = stretchAt(begin, channel);
    let here = pickedKnown(left, stretch);
    let steps = rows * (stretch.end - begin);
    var cursor = Cursor(index + begin, begin);
    for (var i = 0u; i < steps; i++) {
      mapAt(cursor, here, here);
      cursor = onward(cursor, stretch);
    }
    if (stretch.ends) {
      left = turnedKnown(left);
      channel += 1u;
    }
    begin = stretch.end;
  }
}
