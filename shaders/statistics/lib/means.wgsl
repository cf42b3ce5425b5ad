// dx = gamma * invStd * (dz - mean dz - xHat * mean(dz * xHat)); the sums come divided by M.
struct Known {
  saved: Saved,
  means: Means,
}

struct Means {
  dz: Value,
  dzXHat: Value,
}

fn meansOf(sums: Sums) -> Means { return Means(spread(sums.dz), spread(sums.dzXHat)); }

fn inputGradientAt(index: u32, known: Known) -> Value {
  let each = gradientAt(index, known.saved);
  return known.saved.scale * ((each.dz - known.means.dz) - each.xHat * known.means.dzXHat);
}
