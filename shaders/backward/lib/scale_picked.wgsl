fn pickedKnown(known: Known, stretch: Stretch) -> Known { return picked(known, stretch); }
fn turnedKnown(known: Known) -> Known { return turned(known); }
