fn betaOf(group: u32) -> Channel { return Channel(); }
