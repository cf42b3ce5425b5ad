// Positions in a row of the mask.
fn maskRow() -> u32 { return params.inner; }
