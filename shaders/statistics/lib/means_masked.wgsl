// dx = gamma * invStd * (dz - m * (mean dz + xHat * mean(dz * xHat))): what is masked out moved no statistics.
// The sums come divided by M, the number of positions that count; they are over all positions, as y is.
struct Known {
  saved: Saved,
  means: Means,
}

struct Means {
  dz: Value,
  dzXHat: Value,
}

fn meansOf(sums: Sums) -> Means { return Means(spread(sums.dz), spread(sums.dzXHat)); }

fn inputGradientMasked(index: u32, counts: Value, known: Known) -> Value {
  let each = gradientAt(index, known.saved);
  return known.saved.scale * (each.dz - counts * (known.means.dz + each.xHat * known.means.dzXHat));
}
