// What a team adds up per channel: dBeta and dGamma in the backward; where others use it, whatever two they say.
struct Sums {
  dz: Channel,
  dzXHat: Channel,
}
