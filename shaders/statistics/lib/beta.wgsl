// Ghosts share their channel's beta.
fn betaOf(group: u32) -> Channel { return beta[group % arrayLength(&beta)]; }
