fn storeDGamma(group: u32, value: Channel) {
  dGamma[group] = value + select(Channel(), dGamma[group], params.accumulate == 1u);
}
