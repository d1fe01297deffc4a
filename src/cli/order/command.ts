import { readConfig } from '../../config/config.ts'
import { ControlError, orderAgent } from '../../control/client.ts'
import type { Answer, Order } from '../../control/protocol.ts'
import { jsonText, onOneLine } from '../../domain/terminal.ts'

export interface OrderOptions {
  readonly config: string
  readonly json: boolean
}

/** `unavailable` and `denied` as in sysexits(3). */
const EXIT = { refused: 1, unavailable: 69, denied: 77 } as const

const GREEN = 32
const RED = 31

/** Sends one command to the agent, prints its answer, and returns it. */
export async function order({ config: file, json }: OrderOptions, wanted: Order): Promise<Answer> {
  const { piAdu } = await readConfig(file)
  const { answer, exitCode } = await answerTo(piAdu.controlSocket, wanted)
  const isDone = 'done' in answer
  process.exitCode = exitCode
  if (json) {
    process.stdout.write(`${jsonText(answer)}\n`)
    return answer
  }
  const said = onOneLine(isDone ? answer.done : answer.error)
  if (isDone) process.stdout.write(`${coloured(said, GREEN, process.stdout)}\n`)
  else process.stderr.write(`${coloured(`pi-adu: ${said}`, RED, process.stderr)}\n`)
  return answer
}

async function answerTo(socket: string, wanted: Order): Promise<{ answer: Answer; exitCode: number }> {
  try {
    const answer = await orderAgent(socket, wanted)
    return { answer, exitCode: 'done' in answer ? 0 : EXIT.refused }
  } catch (error) {
    if (!(error instanceof ControlError)) throw error
    const { kind, message } = error
    const help = kind === 'absent' ? ': start it, systemctl status pi-adu-agent says why it does not run' : ''
    return { answer: { error: `${message}${help}` }, exitCode: kind === 'denied' ? EXIT.denied : EXIT.unavailable }
  }
}

/** Only for a person, who may also have said that they want none (no-color.org). */
const coloured = (text: string, colour: number, { isTTY }: { readonly isTTY?: boolean }): string =>
  isTTY && !process.env.NO_COLOR ? `\u001b[${colour}m${text}\u001b[0m` : text
