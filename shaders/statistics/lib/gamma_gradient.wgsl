fn gammaGradient(group: u32, total: Sums) -> Channel { return total.dzXHat; }
