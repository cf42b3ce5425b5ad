// One 16-bit number of a word that two channels may share: read by halves, written in pairs.
alias Storage = u32;
fn unpackHalf(word: Storage, at: u32) -> Value { return widen(select(word, word >> 16u, (at & 1u) == 1u)).x; }
fn packPair(low: Value, high: Value) -> Storage { return narrow(vec2f(low, high)); }
fn withLow(word: Storage, low: Value) -> Storage { return (word & 0xffff0000u) | narrow(vec2f(low, 0.0)); }
