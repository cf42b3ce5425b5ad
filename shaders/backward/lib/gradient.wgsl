// dz = dy * activation'(z), beside xHat: what every backward kernel starts from.
fn gradientAt(index: u32, known: Saved) -> Gradient {
  let centred = minus(loadX(index), known.shift) - known.delta;
  let z = addResidual(centred * known.scale + known.offset, index);
  return Gradient(loadDy(index) * activateGradient(z), centred * known.invStd);
}
