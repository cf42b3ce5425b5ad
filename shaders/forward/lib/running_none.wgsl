fn countBatch(workgroup: vec3u, local: u32) {}
fn updateRunning(group: u32, mean: Channel, variance: Channel) {}
