fn pickedKnown(known: Known, stretch: Stretch) -> Known {
  let means = Means(picked(known.means.dz, stretch), picked(known.means.dzXHat, stretch));
  return Known(pickedSaved(known.saved, stretch), means);
}
