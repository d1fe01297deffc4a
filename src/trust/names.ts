/** Whether a name from outside may become part of a path (PROTOCOL.md, "File names"). */
export function isSafeName(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || name.startsWith('-')) return false
  if (Buffer.byteLength(name) > 255) return false
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for control characters
  return !/[/\\\x00-\x1f\x7f]/.test(name)
}

/** Ids of workflows become folder names (PROTOCOL.md, "Deployment"). */
export const isSafeWorkflowId = (id: string): boolean => /^[\w.-]{1,128}$/.test(id) && isSafeName(id)
