fn pickedKnown(known: Known, stretch: Stretch) -> Known {
  return Known(picked(known.shift, stretch), picked(known.delta, stretch), picked(known.scale, stretch),
               picked(known.offset, stretch));
}

fn turnedKnown(known: Known) -> Known {
  return Known(turned(known.shift), turned(known.delta), turned(known.scale), turned(known.offset));
}
