const HOST = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$/
/** Host names have at most 253 characters (RFC 1035), ports five digits. */
const MAX_HOST = 253 + 6
const MAX_ID = 128

/** Whether `text` is a host name, with or without `:port`. It becomes part of user names and TLS, so nothing else may pass. */
export const isHost = (text: string): boolean => text.length <= MAX_HOST && HOST.test(text) && !text.includes('..')

/** What is wrong with the id of a device or module (PROTOCOL.md, "Connection"); ends a sentence. */
export function idFlaw(id: string): string | undefined {
  if (id === '') return 'that is empty'
  if (id.length > MAX_ID) return `of more than ${MAX_ID} characters`
  return /[^A-Za-z0-9\-.%_*?!(),:=@$'+#]/.test(id) ? 'with characters that no id has' : undefined
}
