fn visit(index: u32, gradient: Gradient, known: Saved) {}
