fn pickedKnown(known: Known, stretch: Stretch) -> Known {
  return Known(picked(known.shift, stretch), picked(known.delta, stretch), picked(known.scale, stretch),
               picked(known.offset, stretch));
}
