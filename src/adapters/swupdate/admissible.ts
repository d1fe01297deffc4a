import { readFile } from 'node:fs/promises'
import { type Contents, guarded } from '../../bundle/archive-guard.ts'
import { INLET, inspect } from '../../bundle/policy.ts'
import { AgentError } from '../../domain/errors.ts'
import type { SlotName } from '../../domain/slot.ts'
import { slotSize } from '../slot/storage.ts'
import type { SwupdateOptions } from './swupdate.ts'

type Options = Pick<SwupdateOptions, 'hardware' | 'selection' | 'device' | 'allow'>

export interface Admitted {
  readonly pieces: AsyncGenerator<Buffer>
  /** Known with the first piece. */
  contents(): Contents | undefined
  /** The file of the bundle that the last piece belongs to. */
  file(): string | undefined
}

/** The bundle, as far as SWUpdate may see it. Errors: as `guarded` and `inspect`. */
export async function admissible(
  bundle: AsyncIterable<Buffer>,
  slot: SlotName,
  { hardware, selection, device, allow }: Options,
): Promise<Admitted> {
  const board = await boardOf(hardware)
  const terms = { slot, device: device[slot], selection: selection[slot], board, allow: new Set(allow) }
  const room = await slotSize(device[slot])
  let contents: Contents | undefined
  let file: string | undefined
  const onFile = (name: string): void => {
    file = name
  }
  const check = (description: Buffer): Contents => {
    contents = inspect(description, terms)
    return contents
  }
  const pieces = guarded(bundle, { check, room, device: device[slot], onFile })
  return { pieces, contents: () => contents, file: () => file }
}

/** The hardware as SWUpdate finds it: from `-H` or its file (swupdate, core/hw-compatibility.c). */
async function boardOf(hardware: string | undefined): Promise<string | undefined> {
  if (hardware !== undefined) return hardware.split(':')[0]
  const text = await readFile('/etc/hwrevision', 'utf8').catch(() => '')
  return text.trim().split(/\s+/)[0] || undefined
}

/** SWUpdate skips images that it considers installed. */
export const unwritten = (slot: SlotName): AgentError =>
  new AgentError(
    'BUNDLE_UNWRITTEN',
    `swupdate succeeded but wrote nothing to slot ${slot}, so it is not activated: sw-description needs an image with device "${INLET[slot]}" and without install-if-different or install-if-higher`,
  )
