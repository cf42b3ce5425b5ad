// dx = gamma * invStd * (dz - dBeta / M - xHat * dGamma / M) over one chunk.
fn inputGradientChunk(task: Task, sums: Sums, known: Saved) {
  let scale = known.gamma * known.invStd;
  let meanDz = spread(sums.dz * params.perCount);
  let meanDzXHat = spread(sums.dzXHat * params.perCount);
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    let each = gradientAt(cursor.index, known);
    storeDx(cursor.index, scale * ((each.dz - meanDz) - each.xHat * meanDzXHat));
    cursor = next(cursor);
  }
}
