// The batch counter, 64 bits in two words (low, high), where a Channel is one number.
fn loadCounter() -> vec2u { return vec2u(state[params.counterAt], state[params.counterAt + 1u]); }
fn storeCounter(counter: vec2u) {
  state[params.counterAt] = counter.x;
  state[params.counterAt + 1u] = counter.y;
}
