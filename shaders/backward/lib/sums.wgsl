// What backward adds up per channel: dBeta and dGamma.
struct Sums {
  dz: Channel,
  dzXHat: Channel,
}
