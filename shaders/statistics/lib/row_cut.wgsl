// Positions in a row of the mask, of which the region has a part.
fn maskRow() -> u32 { return MASK_ROW; }
