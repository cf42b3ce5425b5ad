fn gammaOf(group: u32) -> Channel { return gamma[group]; }
fn betaOf(group: u32) -> Channel { return beta[group]; }
