// Every Value is stored on its own.
const PAIRS = false;
