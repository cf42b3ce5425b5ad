// Two 16-bit numbers share a word, and where a row ends their channels differ. Whoever holds the low
// half writes the word; it knows the statistics of its own channel and of the one that follows.
const PAIRS = true;
fn ownsWord(cursor: Cursor) -> bool { return (cursor.index & 1u) == 0u; }
fn endsRow(cursor: Cursor) -> bool { return cursor.inner + 1u == params.inner; }
fn endsTensor(cursor: Cursor) -> bool { return cursor.index + 1u == params.end; }
