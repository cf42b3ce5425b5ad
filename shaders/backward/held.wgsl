// Backward in training in one dispatch, x and dy read once: a team takes a whole channel group and holds
// dz and xHat in registers, HELD Values a lane (12 bytes an f32).
// Barriers: log2(TEAM) + 1. Error: (HELD + log2(TEAM)) * 2^-24 of the sum of magnitudes at most.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let walk = chunkWalk();
  let begin = cursorAt(task);
  let known = savedOf(task.channel);

  var dz: array<Value, HELD>;
  var xHat: array<Value, HELD>;
  var sumDz = Value();
  var sumDzXHat = Value();
  var cursor = begin;
  for (var i = 0u; i < HELD; i++) {
    if (task.first + i * TEAM < task.end) {
      let each = gradientAt(cursor.index, known);
      visit(cursor, each, known, known);
      dz[i] = each.dz;
      xHat[i] = each.xHat;
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
    if (task.first + i * TEAM < task.end) {
      storeDx(cursor.index, known.scale * ((dz[i] - means.dz) - xHat[i] * means.dzXHat));
    }
    cursor = next(cursor, walk);
  }
}
