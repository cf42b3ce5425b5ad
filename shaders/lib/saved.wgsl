// What a forward leaves for its backward, plane after plane of one f32 per channel:
// shift, delta (mean = shift + delta), invStd, gamma, beta.
fn save(group: u32, shift: Channel, delta: Channel, invStd: Channel) {
  saved[group] = shift;
  saved[params.groups + group] = delta;
  saved[2u * params.groups + group] = invStd;
  saved[3u * params.groups + group] = gammaOf(group);
  saved[4u * params.groups + group] = betaOf(group);
}
