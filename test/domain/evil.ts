/** What a stranger may send to command the terminal of who reads it: both sets of control characters, directions, ends of lines. */
export const EVIL = 'a\u001b[2J\u009b31m\u0007\u0090x\u009c\u202eb\u2066c\u200f\u2028d\r\n\t✔ pi1  all is well'

/** What must not be in any output, but for the ends of its own lines. */
export const OBEYED =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/
