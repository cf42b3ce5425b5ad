fn pickedKnown(known: Known, stretch: Stretch) -> Known { return picked(known, stretch); }
