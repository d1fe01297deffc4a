import { onOneLine } from '../../domain/terminal.ts'
import type { Finding } from './finding.ts'

const WIDTH = 80
const INDENT = 20

/** One line for each finding, in 80 columns, with the remedy below it. */
export const findingsText = (findings: readonly Finding[]): string => findings.map(finding).join('')

function finding({ name, is, says, remedy }: Finding): string {
  const [first = '', ...more] = [...wrapped(says), ...(remedy ? wrapped(`→ ${remedy}`) : [])]
  const lines = [`${is.padEnd(6)}${name.padEnd(INDENT - 6)}${first}`, ...more.map(line => ' '.repeat(INDENT) + line)]
  return lines.map(line => `${line}\n`).join('')
}

function wrapped(text: string): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of onOneLine(text).split(' ')) {
    if (line && line.length + 1 + word.length > WIDTH - INDENT) {
      lines.push(line)
      line = ''
    }
    line += line ? ` ${word}` : word
  }
  return [...lines, line]
}
