// A chunk in one walk.
fn mapChunk(task: Task, own: Known, following: Known) {
  mapAlong(cursorAt(task), chunkWalk(), task.first, task.end, own, following);
}
