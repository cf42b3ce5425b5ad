// A Value is four neighbours out of the rows of four channels, which lie one after another (channels first, channels
// divisible by four, rows of five and more): most are of one channel, those where a row ends of two.
alias Value = vec4f;
alias ValueBits = vec4u;
alias Channel = vec4f;
alias ChannelBits = vec4u;
alias Count = vec4f;  // a lane of a team has not the same of each channel

// What is known of the four channels stays as it is, until a stretch picks from it.
fn spread(channel: Channel) -> Value { return channel; }
fn countOf(count: Channel) -> f32 { return count.x; }

// Those of a lane's Values of a row whose numbers are of the same channels each: within a channel, or the one that it
// shares with the next. A lane walks a stretch in all its rows (a chunk is whole rows), then the next one.
struct Stretch {
  channel: u32,        // of the four
  second: vec4<bool>,  // whether a number is of the next channel
  cursor: Cursor,      // its first Value; within the row it counts from there
  walk: Walk,
  end: u32,            // TEAM times its Values in all rows, as a walk counts
  next: u32,           // where in the row the lane's next stretch begins
}

// Where in the row a lane begins. A team takes whole rows at once where they are shorter than it; lanes beyond have no place.
fn firstPlace(task: Task) -> u32 {
  let inner = params.inner;
  return select(inner, task.lane % inner, task.lane < max(TEAM / inner, 1u) * inner);
}

fn stretchAt(task: Task, begin: u32) -> Stretch {
  let inner = params.inner;
  let channel = 4u * begin / inner;
  let border = (channel + 1u) * inner;
  let second = vec4u(4u * begin) + vec4u(0u, 1u, 2u, 3u) >= vec4u(border);
  let size = (max(border / 4u, begin + 1u) - begin + TEAM - 1u) / TEAM;
  let together = max(TEAM / inner, 1u);
  let rows = ((task.end + task.lane - task.first) / inner + together - 1u - task.lane / inner) / together;
  return Stretch(channel, second, Cursor(cursorAt(task).index + begin - firstPlace(task), 0u),
                 Walk(TEAM, 1u, size, together * params.rowGroups * inner - size * TEAM), rows * size * TEAM,
                 begin + size * TEAM);
}

// What a stretch needs of its channel, and of the next.
fn picked(channel: Channel, stretch: Stretch) -> Value {
  let own = stretch.channel;
  return select(Value(channel[own]), Value(channel[min(own + 1u, 3u)]), stretch.second);
}
