// Whether the i-th of the Values that a lane holds is one: only the last may be none.
fn isHeld(task: Task, i: u32) -> bool { return i + 1u < HELD || task.first + i * TEAM < task.end; }
