// Backward in training in one dispatch: a team takes a whole channel group and holds dz in registers, HELD Values a lane. x
// it reads twice, the second time from the cache (12 bytes an f32): held as well, it would leave room for half as many teams.
// Barriers: 2. Error: (HELD + 2 * sqrt(TEAM)) * 2^-24 of the sum of magnitudes at most.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let walk = chunkWalk();
  let begin = cursorAt(task);
  let known = savedOf(task.channel);

  var dz: array<Value, HELD>;
  var sumDz = Value();
  var sumDzXHat = Value();
  var cursor = begin;
  for (var i = 0u; i < HELD; i++) {
    if (isHeld(task, i)) {
      let each = gradientAt(cursor.index, known);
      if (task.valid) { visit(cursor, each, known, known); }
      dz[i] = each.dz;
      sumDz += each.dz;
      sumDzXHat += each.dz * each.xHat;
    }
    cursor = next(cursor, walk);
  }
  let sums = sumTeam(Sums(collapseSum(sumDz), collapseSum(sumDzXHat)), task.lane, local);
  storeParameterGradients(task, sums);

  let means = meansOf(sums);
  cursor = begin;
  for (var i = 0u; i < HELD; i++) {
    if (task.valid && isHeld(task, i)) {
      let xHat = xHatAt(cursor.index, known);
      storeDx(cursor.index, known.scale * ((dz[i] - means.dz) - xHat * means.dzXHat));
    }
    cursor = next(cursor, walk);
  }
}
