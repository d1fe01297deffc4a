/** Whether a name from outside may become part of a path (protocol, chapter 3.8). */
export function isSafeName(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || name.startsWith('-')) return false
  if (Buffer.byteLength(name) > 255) return false
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return !/[/\\\x00-\x1f\x7f]/.test(name)
}

/** Ids of workflows become folder names (chapter 1.5). */
export const isSafeWorkflowId = (id: string): boolean => /^[\w.-]{1,128}$/.test(id) && isSafeName(id)
