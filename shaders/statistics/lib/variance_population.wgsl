fn learnedVariance(variance: Channel, perCount: f32) -> Channel { return variance; }
