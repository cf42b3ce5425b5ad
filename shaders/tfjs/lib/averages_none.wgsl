fn averagedMean(group: u32, batch: Channel) -> Channel { return batch; }
fn averagedVariance(group: u32, batch: Channel) -> Channel { return batch; }
