// xHat = ((x - shift) - delta) * invStd, y = activation(gamma * xHat + beta + residual).
fn inverseStd(variance: Channel) -> Channel {
  let shifted = variance + params.eps;
  return select(1.0 / sqrt(shifted), Channel(0.0), shifted <= Channel(0.0));
}

fn normalizeChunk(task: Task, shift: Channel, delta: Channel, scale: Channel, offset: Channel) {
  let shifts = spread(shift);
  let deltas = spread(delta);
  let scales = spread(scale);
  let offsets = spread(offset);
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    let centred = fence(loadX(cursor.index) - shifts) - deltas;
    storeY(cursor.index, activate(addResidual(centred * scales + offsets, cursor.index)));
    cursor = next(cursor);
  }
}
