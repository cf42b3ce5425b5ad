// One 16-bit number of a word that two channels may share: read by halves, written in pairs.
alias Storage = u32;
fn unpackHalf(word: Storage, at: u32) -> Value { return widen((word >> ((at & 1u) * 16u)) & 0xffffu); }
fn packPair(low: Value, high: Value) -> Storage { return narrow(low) | (narrow(high) << 16u); }
fn withLow(word: Storage, low: Value) -> Storage { return (word & 0xffff0000u) | narrow(low); }
