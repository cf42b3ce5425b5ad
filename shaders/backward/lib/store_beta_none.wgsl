fn storeDBeta(group: u32, value: Channel) {}
