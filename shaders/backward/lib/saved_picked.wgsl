fn pickedSaved(known: Saved, stretch: Stretch) -> Saved {
  return Saved(picked(known.shift, stretch), picked(known.delta, stretch), picked(known.invStd, stretch),
               picked(known.gamma, stretch), picked(known.scale, stretch), picked(known.offset, stretch));
}
