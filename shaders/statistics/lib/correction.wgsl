// Batch renormalization (Ioffe 2017): r and d, constants to the gradient.
struct Correction {
  r: Channel,
  d: Channel,
}
