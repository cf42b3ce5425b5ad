// A team is one invocation: there is nothing to merge, and no barrier.
fn mergeParts(mine: Part, lane: u32, local: u32) -> Part { return mine; }
