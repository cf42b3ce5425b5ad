// What a plan writes once for each dispatch. A dispatch covers a region: the whole tensor, or a contiguous
// part of it that fits into one binding. Counts are in Values unless they say otherwise.
struct Params {
  groups: u32,       // channel groups of the region: what one Value spans is one group
  inner: u32,        // Values in a row of one group
  perGroup: u32,     // Values of one group in the region
  chunk: u32,        // Values in a chunk
  items: u32,        // groups * chunks of the region
  gridWidth: u32,    // workgroups along x and y of the grid
  gridHeight: u32,
  base: u32,         // the region's first Value, counted from where the binding begins
  stepIndex: u32,    // from one of a lane's Values to its next: in the buffer,
  stepInner: u32,    // within the row,
  wrapIndex: u32,    // and what a new row adds
  rowGroups: u32,    // rows of any group from one of a group to its next
  valueStride: u32,  // from one number of a Value to its next, where they are not neighbours
  allGroups: u32,    // channel groups of the tensor
  firstGroup: u32,   // the region's first
  firstSlot: u32,    // where the region's chunks stand among all partials of a channel
  slots: u32,        // partials of one channel
  learns: u32,       // 1: this region writes what there is once a channel
  varianceAt: u32,   // where running variance and the batch counter stand in state, in Channels
  counterAt: u32,
  one: f32,          // 1, which no compiler can know
  accumulate: u32,   // 1: gradients are added to what dGamma and dBeta hold
  end: u32,          // 16-bit numbers whose row ends are odd: one past the tensor's last, as base counts
  perCount: f32,     // 1 / M
  unbiased: f32,     // M / (M - 1), or 1
  momentum: f32,     // below 0: the cumulative average
  eps: f32,
  slope: f32,
  gammaFloor: f32,   // in place: |gamma| is at least this
  extra: u32,        // what a kernel outside the core asks for
}
