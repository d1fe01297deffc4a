import { type AgentEvent, readLoggedEvent } from '../../src/view/event.ts'

/**
 * Inside an emulated board the control socket is out of reach. Its events are in the log under the same names, and the log comes
 * over the serial line, among all else, with what systemd and journald put before it.
 */
const AGENT = /^.*?pi-adu\[\d+\]: /

/** The agent's event in a line of the serial log; undefined for anything else, and for a torn line. */
export const eventIn = (line: string): AgentEvent | undefined =>
  AGENT.test(line) ? readLoggedEvent(jsonIn(line.replace(AGENT, ''))) : undefined

export type Name = AgentEvent['event']
export type Told<N extends Name> = Extract<AgentEvent, { readonly event: N }>

/** The events of that name in the whole lines of a serial text, whose characters are bytes. */
export function eventsIn<N extends Name>(serial: string, name: N): readonly Told<N>[] {
  const lines = Buffer.from(serial, 'latin1').toString().split('\n').slice(0, -1)
  // Few lines name it, and the text grows with every look.
  const found = lines.filter(line => line.includes(`"${name}"`)).map(eventIn)
  return found.filter((event): event is Told<N> => event?.event === name)
}

/** The JSON object in a line, ignoring the text around it; undefined without one. */
export function jsonIn(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line.slice(line.indexOf('{'), line.lastIndexOf('}') + 1))
  } catch {
    return undefined
  }
}
