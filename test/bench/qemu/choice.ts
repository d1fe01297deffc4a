/** What the boot script says before it starts a slot, with its line end: which, why, the trial, and how many tries a pending one has left. */
export const CHOICE = /pi-adu: slot (\w) \(([\w ]+)\), trial (\w+)(?:, (\d) tries left)?\r?\n/
