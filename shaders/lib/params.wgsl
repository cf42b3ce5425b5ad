// What a plan writes once. Counts are in Values unless they say otherwise.
struct Params {
  groups: u32,       // channel groups: what one Value spans is one group
  inner: u32,        // Values in a row of one group
  perGroup: u32,     // Values of one group: outer * inner
  chunk: u32,        // Values in a chunk
  chunks: u32,       // chunks of one group
  items: u32,        // groups * chunks
  gridWidth: u32,    // workgroups along x of the grid
  stepIndex: u32,    // from one of a lane's Values to its next: in the buffer,
  stepInner: u32,    // within the row,
  wrapIndex: u32,    // and what a new row adds
  varianceAt: u32,   // where running variance and the batch counter stand in state, in Channels
  counterAt: u32,
  zero: u32,         // 0, which no compiler can know
  accumulate: u32,   // 1: gradients are added to what dGamma and dBeta hold
  total: u32,        // numbers in the tensor
  perCount: f32,     // 1 / M
  unbiased: f32,     // M / (M - 1), or 1
  momentum: f32,     // below 0: the cumulative average
  eps: f32,
  slope: f32,
}
