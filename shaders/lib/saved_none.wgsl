fn save(group: u32, shift: Channel, delta: Channel, invStd: Channel) {}
