// dx = gamma * invStd * (dz - dBeta / M - xHat * dGamma / M) over one chunk.
struct Means {
  dz: Value,
  dzXHat: Value,
}

fn meansOf(sums: Sums) -> Means {
  return Means(spread(sums.dz * params.perCount), spread(sums.dzXHat * params.perCount));
}

fn inputGradientAt(index: u32, known: Saved, means: Means) -> Value {
  let each = gradientAt(index, known);
  return known.scale * ((each.dz - means.dz) - each.xHat * means.dzXHat);
}

fn inputGradientChunk(task: Task, own: Sums, following: Sums, known: Saved, knownFollowing: Saved) {
  let means = meansOf(own);
  let meansFollowing = meansOf(following);
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    storeInputGradient(cursor, known, means, knownFollowing, meansFollowing);
    cursor = next(cursor);
  }
}
