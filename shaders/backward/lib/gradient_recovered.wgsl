// In place: x is gone, z and xHat are recovered from y, which loadX reads (Rota Bulo et al. 2018).
// Conditioned: the error of xHat is that of y over |gamma| times the activation's slope.
fn gradientAt(index: u32, known: Saved) -> Gradient {
  let y = loadX(index);
  let xHat = (invertActivation(y) - known.offset) / known.gamma;
  return Gradient(loadDy(index) * gradientOfOutput(y), xHat);
}
