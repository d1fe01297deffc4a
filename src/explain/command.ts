import { jsonText, onOneLine } from '../domain/terminal.ts'
import { explainText, searchCodes } from './explain.ts'
import { explanationsText } from './text.ts'

/** The most codes that a search shows. */
const MOST = 20

/**
 * `explain CODE | TEXT`: explains every code in `words`, or finds the codes whose explanation contains all of `words`. Returns
 * the text to print, or what is wrong with `words`.
 */
export function explain(words: readonly string[], json: boolean): { readonly text: string } | { readonly why: string } {
  const text = words.join(' ')
  const codes = explainText(text)
  const found = codes.length > 0 ? codes : searchCodes(text)
  if (found.length === 0)
    return { why: `no result code in "${onOneLine(text).slice(0, 60)}", and no code speaks of it` }
  const shown = codes.length > 0 ? codes : found.slice(0, MOST)
  if (json) return { text: `${jsonText(shown)}\n` }
  const more = found.length - shown.length
  return { text: `${explanationsText(shown)}${more > 0 ? `\n${more} more; add words to narrow the search\n` : ''}` }
}
