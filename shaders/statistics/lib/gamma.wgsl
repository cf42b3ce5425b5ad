// Ghosts share their channel's gamma.
fn gammaOf(group: u32) -> Channel { return gamma[group % arrayLength(&gamma)]; }
