// Which Values an invocation works on. A channel group is cut into chunks; a team of TEAM lanes
// (SLOTS teams a workgroup) takes a chunk, lane after lane, so that neighbours read neighbours.
struct Task {
  group: u32,    // of the region
  channel: u32,  // the same group, of the tensor
  chunk: u32,
  lane: u32,
  first: u32,  // the chunk's first Value within the group, plus lane: this lane's first
  end: u32,    // one past the chunk's last
  valid: bool,
}

fn taskOf(workgroup: vec3u, local: u32) -> Task {
  let slot = (local / SLOT_STRIDE) % SLOTS;
  let lane = (local / LANE_STRIDE) % TEAM;
  let linear = (workgroup.z * params.gridHeight + workgroup.y) * params.gridWidth + workgroup.x;
  let item = linear * SLOTS + slot;
  let valid = item < params.items;
  let chunk = select(0u, item / params.groups, valid);
  let begin = chunk * params.chunk;
  let end = select(0u, min(begin + params.chunk, params.perGroup), valid);
  let group = select(0u, item % params.groups, valid);
  return Task(group, params.firstGroup + group, chunk, lane, begin + lane, end, valid);
}

// Whether this lane writes what there is once a channel.
fn learnsFrom(task: Task) -> bool {
  return task.valid && task.chunk == 0u && task.lane == 0u && params.learns == 1u;
}

// A position in the buffer, and within its row.
struct Cursor {
  index: u32,
  inner: u32,
}

fn cursorAt(task: Task) -> Cursor {
  let outer = task.first / params.inner;
  let inner = task.first % params.inner;
  return Cursor(params.base + (outer * params.rowGroups + task.group) * params.inner + inner, inner);
}

// The channel whose row follows in memory.
fn followingOf(group: u32) -> u32 { return select(group + 1u, 0u, group + 1u == params.allGroups); }
