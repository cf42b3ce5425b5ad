// dx = gamma * invStd * (dz - dBeta / M - xHat * dGamma / M) over one chunk.
struct Known {
  saved: Saved,
  means: Means,
}

struct Means {
  dz: Value,
  dzXHat: Value,
}

fn meansOf(sums: Sums) -> Means {
  return Means(spread(sums.dz * params.perCount), spread(sums.dzXHat * params.perCount));
}

fn inputGradientAt(index: u32, known: Known) -> Value {
  let each = gradientAt(index, known.saved);
  return known.saved.scale * ((each.dz - known.means.dz) - each.xHat * known.means.dzXHat);
}
