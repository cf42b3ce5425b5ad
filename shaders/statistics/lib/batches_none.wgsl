// Limits that never change need no counter.
fn batchesBefore() -> f32 { return 0.0; }
