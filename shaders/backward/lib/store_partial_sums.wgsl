fn storePartialSums(slot: u32, group: u32, value: Sums) {
  let at = 2u * slot * params.allGroups + group;
  partials[at] = value.dz;
  partials[at + params.allGroups] = value.dzXHat;
}
