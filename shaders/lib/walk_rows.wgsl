// From one of a lane's Values to its next without dividing: over rows that end.
struct Walk {
  stepIndex: u32,
  stepInner: u32,
  inner: u32,
  wrapIndex: u32,
}

fn chunkWalk() -> Walk { return Walk(params.stepIndex, params.stepInner, params.inner, params.wrapIndex); }

fn next(cursor: Cursor, walk: Walk) -> Cursor {
  let inner = cursor.inner + walk.stepInner;
  let index = cursor.index + walk.stepIndex;
  let wraps = inner >= walk.inner;
  return Cursor(select(index, index + walk.wrapIndex, wraps), select(inner, inner - walk.inner, wraps));
}
