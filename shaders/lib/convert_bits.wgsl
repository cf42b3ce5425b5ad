// Conversions by 32-bit arithmetic alone.
fn widen(word: u32) -> vec2f { return widenBits(word); }
fn widenFour(words: vec2u) -> vec4f { return vec4f(widenBits(words.x), widenBits(words.y)); }
fn narrow(pair: vec2f) -> u32 { return narrowBits(pair); }
fn narrowFour(value: vec4f) -> vec2u { return vec2u(narrowBits(value.xy), narrowBits(value.zw)); }
