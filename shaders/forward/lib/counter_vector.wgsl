// The batch counter, 64 bits in two words (low, high), where a Channel is several numbers.
fn loadCounter() -> vec2u { return state[params.counterAt].xy; }
fn storeCounter(counter: vec2u) {
  var bits = state[params.counterAt];
  bits.x = counter.x;
  bits.y = counter.y;
  state[params.counterAt] = bits;
}
