fn storeDGamma(group: u32, value: Channel) {}
