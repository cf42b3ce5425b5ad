// y = gamma * (r * xHat + d) + beta.
fn gammaGradient(group: u32, total: Sums) -> Channel {
  return saved[7u * params.allGroups + group] * total.dzXHat + saved[8u * params.allGroups + group] * total.dz;
}
