// What a forward leaves for its backward, plane after plane of one f32 per channel:
// shift, delta (mean = shift + delta), invStd, gamma, beta.
fn save(group: u32, shift: Channel, delta: Channel, invStd: Channel) {
  saved[group] = shift;
  saved[params.allGroups + group] = delta;
  saved[2u * params.allGroups + group] = invStd;
  saved[3u * params.allGroups + group] = gammaOf(group);
  saved[4u * params.allGroups + group] = betaOf(group);
}
