import type { Explanation } from './explain.ts'

const WIDTH = 80

/** One paragraph for each code, 80 columns wide. */
export const explanationsText = (explanations: readonly Explanation[]): string => explanations.map(paragraph).join('\n')

function paragraph({ code, kind, means, next, symbol }: Explanation): string {
  const title = `${code}  ${kind === 'result' ? 'result code' : 'extended result code'}${symbol ? `, ${symbol}` : ''}`
  return [title, ...wrapped(`${means}.`), ...(next ? wrapped(next) : [])].map(line => `${line}\n`).join('')
}

function wrapped(sentence: string): readonly string[] {
  const lines: string[] = []
  let line = ' '
  for (const word of sentence.charAt(0).toUpperCase().concat(sentence.slice(1)).split(' ')) {
    if (line.trim() && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = ' '
    }
    line += ` ${word}`
  }
  return [...lines, line]
}
