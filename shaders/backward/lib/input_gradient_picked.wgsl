fn pickedKnown(known: Known, stretch: Stretch) -> Known {
  let means = Means(picked(known.means.dz, stretch), picked(known.means.dzXHat, stretch));
  return Known(pickedSaved(known.saved, stretch), means);
}

fn turnedKnown(known: Known) -> Known {
  return Known(turnedSaved(known.saved), Means(turned(known.means.dz), turned(known.means.dzXHat)));
}
