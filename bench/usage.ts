/** What was asked for and is not there: told to a person without a stack. */
export class UsageError extends Error {}
