// dx = gamma * invStd * (dz - dBeta / M - xHat * dGamma / M) over one chunk.
struct Means {
  dz: Value,
  dzXHat: Value,
}

fn meansOf(sums: Sums) -> Means {
  return Means(spread(sums.dz * params.perCount), spread(sums.dzXHat * params.perCount));
}

fn inputGradientAt(index: u32, known: Saved, means: Means) -> Value {
  let each = gradientAt(index, known);
  return known.scale * ((each.dz - means.dz) - each.xHat * means.dzXHat);
}
