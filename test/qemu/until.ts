import assert from 'node:assert/strict'
import type { Guest } from '../bench/qemu/guest.ts'

/**
 * Asked of the device again until it succeeds, because its services work in their own time. Errors: after `seconds`, with what the
 * command said last, and with what `more` says.
 */
export async function until(
  guest: Guest,
  what: string,
  command: string,
  { seconds = 90, more = 'true' }: { seconds?: number; more?: string } = {},
): Promise<void> {
  const asked = `end=$((SECONDS + ${seconds})); until { ${command}; } 2>/dev/null || [ $SECONDS -gt $end ]; do sleep 1; done; ${command}`
  const { code, output } = await guest.machine!.shell(asked, (seconds + 120) * 1000)
  if (code !== 0) assert.fail(`${what}: ${output}\n${(await guest.machine!.shell(more)).output}`)
}
