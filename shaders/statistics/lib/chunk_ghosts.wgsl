// As the core's chunk, for ghosts: params.perGroup Values of a group, one after another, are a ghost with channel
// groups of its own, all of them in one dispatch. params.extra is the Values of one group in the whole tensor; the
// last ghost takes what is left.
struct Task {
  group: u32,    // ghost * params.groups + group of the tensor
  channel: u32,  // the same
  chunk: u32,
  lane: u32,
  first: u32,  // this lane's first Value within the ghost's group
  end: u32,    // one past the chunk's last
  valid: bool,
}

fn taskOf(workgroup: vec3u, local: u32) -> Task {
  let slot = (local / SLOT_STRIDE) % SLOTS;
  let lane = (local / LANE_STRIDE) % TEAM;
  let linear = (workgroup.z * params.gridHeight + workgroup.y) * params.gridWidth + workgroup.x;
  let item = linear * SLOTS + slot;
  let valid = item < params.allGroups * (params.items / params.groups);
  let chunk = select(0u, item / params.allGroups, valid);
  let group = select(0u, item % params.allGroups, valid);
  let begin = chunk * params.chunk;
  let left = params.extra - (group / params.groups) * params.perGroup;
  let end = select(0u, min(begin + params.chunk, min(params.perGroup, left)), valid);
  return Task(group, group, chunk, lane, begin + lane, end, valid);
}

// Whether this lane writes what there is once a channel.
fn learnsFrom(task: Task) -> bool {
  return task.valid && task.chunk == 0u && task.lane == 0u && params.learns == 1u;
}

struct Cursor {
  index: u32,
  inner: u32,
}

fn cursorAt(task: Task) -> Cursor {
  let ghost = task.group / params.groups;
  let outer = (ghost * params.perGroup + task.first) / params.inner;
  let inner = task.first % params.inner;
  return Cursor(params.base + (outer * params.rowGroups + task.group % params.groups) * params.inner + inner, inner);
}

// No word is shared by two channels here.
fn followingOf(group: u32) -> u32 { return group; }
