// A Value is four neighbours out of the rows of four channels, which lie one after another (channels first, channels
// divisible by four, rows of five and more, TEAM = 1): most are of one channel, those where a row ends of two.
alias Value = vec4f;
alias ValueBits = vec4u;
alias Channel = vec4f;
alias ChannelBits = vec4u;

// What is known of the four channels stays as it is, until a stretch picks from it.
fn spread(channel: Channel) -> Value { return channel; }
fn countOf(count: Channel) -> f32 { return count.x; }

// Values of a row whose numbers are of the same channels each: those within a channel, or the one that it shares with
// the next. A lane walks a stretch in all its rows (a chunk is whole rows), then the next one.
struct Stretch {
  end: u32,
  cursor: Cursor,      // its first Value; within the row it counts from there
  walk: Walk,
  steps: u32,
  second: vec4<bool>,  // whether a number is of the next channel
  ends: bool,          // whether the channel ends here
}

fn stretchAt(task: Task, begin: u32, channel: u32) -> Stretch {
  let inner = params.inner;
  let border = (channel + 1u) * inner;
  let second = vec4u(4u * begin) + vec4u(0u, 1u, 2u, 3u) >= vec4u(border);
  let end = max(border / 4u, begin + 1u);
  let size = end - begin;
  return Stretch(end, Cursor(cursorAt(task).index + begin, 0u), Walk(1u, 1u, size, params.rowGroups * inner - size),
                 (task.end - task.first) / inner * size, second, 4u * end >= border);
}

// What a stretch needs of its channel, the first, and of the next.
fn picked(channel: Channel, stretch: Stretch) -> Value { return select(channel.xxxx, channel.yyyy, stretch.second); }

// The next channel is the first.
fn turned(channel: Channel) -> Channel { return channel.yzwx; }
