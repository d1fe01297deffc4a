/** What the boot script says before it starts a slot: which, why, the trial, and how many tries are left. */
export const CHOICE = /pi-adu: slot (\w) \(([\w ]+)\), trial (\w*), (\w*) tries left/
