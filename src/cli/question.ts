import { createInterface } from 'node:readline/promises'

/** What a person at the terminal types; nothing if they end it with Ctrl-C or Ctrl-D. */
export async function answerOf(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await lines.question(question)).trim()
  } catch {
    return ''
  } finally {
    lines.close()
  }
}
