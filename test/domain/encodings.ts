/** `text` as editors of Windows save it. */
export const encodings = (text: string): Readonly<Record<string, Buffer>> => ({
  'UTF-8': Buffer.from(text),
  'UTF-8 with a byte order mark': Buffer.from(`\ufeff${text}`),
  'UTF-16 LE': Buffer.from(`\ufeff${text}`, 'utf16le'),
  'UTF-16 BE': Buffer.from(`\ufeff${text}`, 'utf16le').swap16(),
})
