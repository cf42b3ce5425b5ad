// In place gamma has to be inverted: what is too small for that is kept at the floor, with its sign.
fn gammaOf(group: u32) -> Channel {
  let given = gamma[group];
  let floored = max(abs(given), Channel(params.gammaFloor));
  return select(floored, -floored, given < Channel());
}
fn betaOf(group: u32) -> Channel { return beta[group]; }
