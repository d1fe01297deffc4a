import { ownState } from '../../../src/operator/own-state.ts'
import type { Card } from '../../../src/page/state.ts'

/** The card of a device in QEMU: all that is known of it is what the hub knows. */
export function guestCard(id: string, reported: unknown): Omit<Card, 'light'> & { readonly light: null } {
  const own = ownState(reported)
  const doing =
    own === undefined ? 'nothing is reported yet' : own.waits === undefined ? own.phase : `${own.phase}: ${own.waits}`
  return {
    ...{ host: id, slots: [], light: null, events: [] },
    lines: [['doing', doing], ...(own?.lines ?? []).map(line => [line.slice(0, 14).trim(), line.slice(14)] as const)],
    progress: own?.percent === undefined ? null : { percent: own.percent, text: '' },
  }
}
