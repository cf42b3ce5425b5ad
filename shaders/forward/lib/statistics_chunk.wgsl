// This lane's share of its chunk.
fn laneStatistics(task: Task) -> Statistics {
  return collapse(statisticsAlong(cursorAt(task), chunkWalk(), task.first, task.end));
}
