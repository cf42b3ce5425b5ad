// A lane alone (TEAM = 1) walks run after run: Values at a constant step, up to the row's end.
fn runOf(cursor: Cursor, left: u32) -> u32 {
  return min(left, select(params.inner - cursor.inner, left, params.stepInner == 0u));
}

fn along(cursor: Cursor, steps: u32) -> Cursor {
  return Cursor(cursor.index + steps * params.stepIndex, cursor.inner + steps * params.stepInner);
}

fn nextRun(cursor: Cursor, steps: u32) -> Cursor {
  return Cursor(cursor.index + steps * params.stepIndex + params.wrapIndex, 0u);
}
