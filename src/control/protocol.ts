import * as v from 'valibot'
import { GATE_NAMES } from '../domain/gate.ts'
import { onOneLine } from '../domain/terminal.ts'
import { readEvent, type ToldEvent } from '../view/event.ts'
import { type AgentView, readView } from '../view/view.ts'

/** Largest request, in bytes. */
export const MAX_REQUEST = 4096

const LOCK_NAME = /^[A-Za-z0-9][\w.-]{0,63}$/

const name = v.pipe(
  v.string('"name" is a text'),
  v.regex(LOCK_NAME, 'the name of a lock has at most 64 letters, digits, ".", "_" and "-"'),
)
const seconds = (most: number) => {
  const message = `"seconds" is a whole number from 1 to ${most}`
  return v.pipe(v.number(message), v.integer(message), v.minValue(1, message), v.maxValue(most, message))
}
const gates = v.pipe(
  v.array(v.picklist(GATE_NAMES, `"gates" has some of ${GATE_NAMES.join(', ')}`), '"gates" is a list'),
  v.minLength(1, '"gates" has at least one gate'),
)
const why = v.pipe(v.string('"why" is a text'), v.maxLength(200, '"why" has at most 200 characters'))

/** What a person or a program at the device may order. Each is one row here and one case in `requests.ts`. */
const commands = [
  v.object({ do: v.literal('consent') }),
  v.object(
    {
      do: v.literal('lock'),
      name,
      /** A lock ends by itself, after a week at the latest. */
      seconds: seconds(7 * 86_400),
      why: v.exactOptional(why),
      gates: v.exactOptional(gates, [...GATE_NAMES]),
      /** Without it, the lock ends with the connection. */
      stay: v.exactOptional(v.boolean('"stay" is true or false'), false),
    },
    'a lock needs "name" and "seconds"',
  ),
  v.object({ do: v.literal('unlock'), name }, 'unlock needs "name"'),
  v.object({ do: v.literal('cancel') }),
  v.object({ do: v.literal('retry') }),
  v.object({ do: v.literal('commit') }),
  v.object({ do: v.literal('rollback') }),
  v.object(
    {
      do: v.literal('install'),
      /** The absolute path of a folder with a signed deployment, or of a bundle; or the https URL of a bundle. */
      target: v.pipe(v.string('"target" is a text'), v.nonEmpty('"target" is not empty')),
    },
    'install needs "target"',
  ),
  v.object({ do: v.literal('identify'), seconds: seconds(3600) }, 'identify needs "seconds"'),
] as const

const requestSchema = v.variant(
  'do',
  [
    v.object({ do: v.literal('view') }),
    v.object({
      do: v.literal('watch'),
      /** After the view, send the kept events with a higher number; absent: none of them. */
      after: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(0))),
    }),
    ...commands,
  ],
  `unknown request; "do" is one of view, watch, ${commands.map(({ entries }) => entries.do.literal).join(', ')}`,
)

/** A client's request, as sent: one JSON object per line. */
export type Request = v.InferInput<typeof requestSchema>

/** A request that changes something, as sent. */
export type Order = Exclude<Request, { do: 'view' | 'watch' }>

/** The same with its defaults. */
export type Command = Exclude<v.InferOutput<typeof requestSchema>, { do: 'view' | 'watch' }>

/** The answer to a command: a sentence about what was done, or why it was not and what to do. */
export type Answer =
  | { readonly done: string /** Of the local update that begins. */; readonly workflowId?: string }
  | { readonly error: string }

/** The server's answers: one JSON object per line. */
export type Line = { readonly view: AgentView } | Answer | ToldEvent

/** The request, or why the line is not a valid one. */
export function readRequest(line: string): v.InferOutput<typeof requestSchema> | string {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return 'the request is not JSON'
  }
  const found = v.safeParse(requestSchema, value)
  return found.success ? found.output : onOneLine(found.issues[0].message)
}

/** Undefined for an unknown line: a newer agent may send more kinds. */
export function readLine(line: string): Line | undefined {
  try {
    const value = JSON.parse(line) as { view?: unknown; error?: unknown; done?: unknown; workflowId?: unknown } | null
    const view = readView(value?.view)
    if (view) return { view }
    if (typeof value?.error === 'string') return { error: value.error }
    if (typeof value?.done === 'string') {
      const { done, workflowId } = value as { done: string; workflowId?: unknown }
      return typeof workflowId === 'string' ? { done, workflowId } : { done }
    }
    return readEvent(value)
  } catch {
    return undefined
  }
}
