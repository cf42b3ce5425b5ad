fn learnRenorm(group: u32, mean: Channel, variance: Channel) {}
