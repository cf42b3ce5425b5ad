// This lane's share of its chunk.
fn laneSums(task: Task, known: Saved, following: Saved) -> Sums {
  let sums = sumsAlong(cursorAt(task), chunkWalk(), task.first, task.end, known, following);
  return Sums(collapseSum(sums.dz), collapseSum(sums.dzXHat));
}
