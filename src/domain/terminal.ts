/**
 * What a terminal obeys instead of showing: control characters of both sets (U+009B begins an escape sequence as ESC does),
 * format characters (such as those that change the writing direction), lone surrogates, and line separators.
 */
const OBEYED = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

const escaped = (sign: string): string =>
  Array.from({ length: sign.length }, (_, i) => `\\u${sign.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')

/** Foreign text as one line that is safe on a terminal: line ends and tabs become a space, other such characters an escape. */
export const onOneLine = (text: string): string => text.replace(/[\t\n\v\f\r]+/g, ' ').replace(OBEYED, escaped)

/** The same for text whose line ends are the agent's own, such as a stack trace. */
export const lineByLine = (text: string): string => text.split('\n').map(onOneLine).join('\n')

/** The same for JSON; the result is still JSON with the same meaning. */
export const jsonText = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(OBEYED, sign => (sign === '\n' ? sign : escaped(sign)))
