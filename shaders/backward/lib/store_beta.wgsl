fn storeDBeta(group: u32, value: Channel) {
  dBeta[group] = value + select(Channel(), dBeta[group], params.accumulate == 1u);
}
