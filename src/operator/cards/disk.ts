import { realpath } from 'node:fs/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { bytes } from '../output.ts'
import { runProgram } from '../program.ts'

/** A row of lsblk(8). */
export interface BlockDevice {
  readonly path: string
  readonly type: string
  readonly size: number
  readonly ro: boolean
  readonly model: string | null
  readonly mountpoints: readonly (string | null)[]
  readonly children?: readonly BlockDevice[]
}

export interface Disk {
  readonly path: string
  readonly size: number
  /** For a person: model and size. */
  readonly description: string
}

/** A disk that may be written over. Errors: Failure that says why this is not one. */
export async function openDisk(given: string, imageBytes: number): Promise<Disk> {
  const path = await realpath(given).catch(cause => {
    throw new Failure(EXIT.usage, `cannot use ${given}: ${messageOf(cause)}`, { cause })
  })
  const columns = 'PATH,TYPE,SIZE,RO,MODEL,MOUNTPOINTS'
  const text = await runProgram(['lsblk', '--json', '--bytes', '--output', columns, '--', path]).catch(() => {
    throw new Failure(EXIT.usage, `${given} is not a disk`)
  })
  const [device] = (JSON.parse(text.toString()) as { blockdevices: readonly BlockDevice[] }).blockdevices
  if (!device) throw new Failure(EXIT.usage, `${given} is not a disk`)
  const flaw = diskFlaw(device, imageBytes)
  if (flaw) throw new Failure(EXIT.usage, `${given}: ${flaw}`)
  const { size, model } = device
  return { path, size, description: [model?.trim(), bytes(size)].filter(Boolean).join(', ') }
}

/** Why a disk may not be written over; undefined when it may. The system's own disk is one that is mounted. Pure. */
export function diskFlaw(device: BlockDevice, imageBytes: number): string | undefined {
  if (!['disk', 'loop'].includes(device.type)) return `it is a ${device.type}, not a whole disk`
  for (const each of allOf(device)) {
    const place = each.mountpoints.find(point => point !== null && point !== '')
    if (place === '[SWAP]') return `${each.path} is in use as swap`
    if (place !== undefined && place !== null) return `${each.path} is mounted on ${place}: unmount it first`
    if (each !== device && each.type !== 'part') return `it is in use by ${each.path} (${each.type})`
  }
  if (device.ro) return 'it is read-only: look at the switch of the card'
  if (device.size < imageBytes) return `it has ${bytes(device.size)}, less than the image (${bytes(imageBytes)})`
  return undefined
}

const allOf = (device: BlockDevice): readonly BlockDevice[] => [device, ...(device.children ?? []).flatMap(allOf)]
