// In place: x is gone, z and xHat are recovered from y, which loadX reads (Rota Bulo et al. 2018).
// Conditioned: the error of xHat is that of y over |gamma| times the activation's slope.
fn xHatOf(y: Value, known: Saved) -> Value { return (invertActivation(y) - known.offset) / known.gamma; }

fn xHatAt(index: u32, known: Saved) -> Value { return xHatOf(loadX(index), known); }

fn gradientAt(index: u32, known: Saved) -> Gradient {
  let y = loadX(index);
  return Gradient(loadDy(index) * gradientOfOutput(y), xHatOf(y, known));
}
