// A chunk stretch after stretch.
fn mapChunk(task: Task, own: Known, following: Known) {
  for (var begin = firstPlace(task); begin < params.inner;) {
    let stretch = stretchAt(task, begin);
    let here = pickedKnown(own, stretch);
    mapAlong(stretch.cursor, stretch.walk, 0u, stretch.end, here, here);
    begin = stretch.next;
  }
}
