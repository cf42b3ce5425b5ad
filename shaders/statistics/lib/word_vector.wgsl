fn firstWord(bits: ChannelBits) -> u32 { return bits.x; }
