fn movedVariance(old: Channel, own: Channel, momentum: f32) -> Channel { return moved(old, own, momentum); }
fn learnRenorm(group: u32, mean: Channel, variance: Channel) {}
