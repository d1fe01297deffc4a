import assert from 'node:assert/strict'
import { CHOICE } from '../bench/qemu/choice.ts'
import type { Guest } from '../bench/qemu/guest.ts'

// Which slot a board has started, by the words of its boot script and of the system that runs.

/** The choices of the boot script since `from`. */
function choicesOf(guest: Guest, from: number): string[] {
  const text = guest.machine!.serial.slice(from)
  return [...text.matchAll(new RegExp(CHOICE, 'g'))].map(match => `${match[1]} ${match[2]}`)
}

/** Fails with what the last boot but one said: the reason of a boot too many. */
export function assertChoices(guest: Guest, from: number, expected: readonly string[]): void {
  const found = choicesOf(guest, from)
  const text = guest.machine!.serial.slice(from)
  const before = text.slice(0, text.lastIndexOf('pi-adu: slot ')).slice(-4000)
  assert.deepEqual(
    found,
    expected,
    `${found.join(', ')} instead of ${expected.join(', ')}; before the last:\n${before}`,
  )
}

/** Where the boot script chose for the last time. */
export function lastChoice(guest: Guest, from: number): number {
  const matches = [...guest.machine!.serial.slice(from).matchAll(new RegExp(CHOICE, 'g'))]
  return from + (matches.at(-1)?.index ?? 0)
}

/** What the device is, asked of the device; the agent has no part in the answer. */
export async function slotAndVersion(guest: Guest): Promise<string> {
  const command = 'sed "s/.*adu.slot=\\(.\\).*/slot \\1/" /proc/cmdline; cat /etc/adu-version'
  const { output } = await guest.machine!.shell(command)
  return output.trim().split(/\s+/).join(' ')
}

export function say(what: string, since: number): void {
  console.log(`# ${what}: ${((performance.now() - since) / 1000).toFixed(1)} s`)
}
