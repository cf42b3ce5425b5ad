// From one of a lane's Values to its next: down a column.
alias Walk = u32;
fn chunkWalk() -> Walk { return params.stepIndex; }
fn next(cursor: Cursor, walk: Walk) -> Cursor { return Cursor(cursor.index + walk, 0u); }
