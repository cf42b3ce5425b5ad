// A team is one invocation: there is nothing to merge, and no barrier.
fn mergeTeam(mine: Statistics, lane: u32, local: u32) -> Statistics { return mine; }
