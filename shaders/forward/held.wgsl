// Training forward in one dispatch, each value read once: a team takes a whole channel group and holds it
// in registers, HELD Values a lane, between statistics and normalisation (8 bytes an f32).
// Barriers: log2(TEAM) + 1, side by side 5. Error: as forward/statistics; a lane's Values are one block.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  countBatch(workgroup, local);
  let task = taskOf(workgroup, local);
  let walk = chunkWalk();
  let begin = cursorAt(task);

  var held: array<Value, HELD>;
  var cursor = begin;
  for (var i = 0u; i < HELD; i++) {
    if (isHeld(task, i)) { held[i] = loadX(cursor.index); }
    cursor = next(cursor, walk);
  }
  // Sums around the lane's first Value give its mean, a second look what that has missed, and its squared deviations.
  var sum = Value();
  for (var i = 1u; i < HELD; i++) {
    if (isHeld(task, i)) { sum += minus(held[i], held[0]); }
  }
  let count = f32(select(0u, (task.end - task.first + TEAM - 1u) / TEAM, task.first < task.end));
  let mean = sum / max(count, 1.0);
  var missed = Value();
  var m2 = Value();
  for (var i = 0u; i < HELD; i++) {
    if (isHeld(task, i)) {
      let rest = minus(held[i], held[0]) - mean;
      missed += rest;
      m2 += rest * rest;
    }
  }
  let lane = Lane(count, held[0], mean + missed / max(count, 1.0), m2, Value());
  let own = mergeTeam(collapse(lane), task.lane, local);

  let normal = learn(task, own);
  cursor = begin;
  for (var i = 0u; i < HELD; i++) {
    if (task.valid && isHeld(task, i)) {
      storeY(cursor.index, normalized(held[i], cursor.index, normal));
    }
    cursor = next(cursor, walk);
  }
}
