// dz = dy * activation'(z), beside xHat: what every backward kernel starts from.
fn centredAt(index: u32, known: Saved) -> Value { return minus(loadX(index), known.shift) - known.delta; }

fn xHatAt(index: u32, known: Saved) -> Value { return centredAt(index, known) * known.invStd; }

fn gradientAt(index: u32, known: Saved) -> Gradient {
  let centred = centredAt(index, known);
  let z = addResidual(centred * known.scale + known.offset, index);
  return Gradient(loadDy(index) * activateGradient(z), centred * known.invStd);
}
