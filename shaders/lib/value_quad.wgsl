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
  begin: u32,
  end: u32,
  skip: u32,           // in the buffer, from its last Value in a row to its first in the next
  second: vec4<bool>,  // whether a number is of the next channel
  ends: bool,          // whether the channel ends here
}

fn stretchAt(begin: u32, channel: u32) -> Stretch {
  let border = (channel + 1u) * params.inner;
  let second = vec4u(4u * begin) + vec4u(0u, 1u, 2u, 3u) >= vec4u(border);
  let end = max(border / 4u, begin + 1u);
  return Stretch(begin, end, params.rowGroups * params.inner + begin + 1u - end, second, 4u * end >= border);
}

fn onward(cursor: Cursor, stretch: Stretch) -> Cursor {
  let wraps = cursor.inner + 1u == stretch.end;
  return Cursor(cursor.index + select(1u, stretch.skip, wraps), select(cursor.inner + 1u, stretch.begin, wraps));
}

// What a stretch needs of its channel, the first, and of the next.
fn picked(channel: Channel, stretch: Stretch) -> Value { return select(channel.xxxx, channel.yyyy, stretch.second); }

// The next channel is the first.
fn turned(channel: Channel) -> Channel { return channel.yzwx; }
