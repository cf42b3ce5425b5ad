// The device's own conversions, an instruction each, where half_probe found them to be IEEE 754's.
fn widen(word: u32) -> vec2f { return unpack2x16float(word); }
fn widenFour(words: vec2u) -> vec4f { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }
fn narrow(pair: vec2f) -> u32 { return pack2x16float(pair); }
fn narrowFour(value: vec4f) -> vec2u { return vec2u(pack2x16float(value.xy), pack2x16float(value.zw)); }
