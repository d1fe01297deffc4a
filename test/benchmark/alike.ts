import { randomBytes } from 'node:crypto'
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { type AgentOptions, installWithAgent } from './agent-run.ts'
import { type Card, insertCard } from './card.ts'
import type { Payload, Rig } from './rig.ts'
import { withSettings } from './settings.ts'
import { median } from './statistics.ts'

/** How much of the new image the slot holds already, where it is to be: of two builds of the image 0.22 and 0.9. */
const SHARES = [0, 0.22, 0.9, 1] as const

export interface Alike {
  readonly share: number
  /** Seconds, each round: with and without a look at what is there. */
  readonly compared: readonly number[]
  readonly unseen: readonly number[]
  /** Bytes written for each of the image, when it is compared. */
  readonly writtenPerImageByte: number
}

/** Installations onto a card that holds more or less of the image already, in turn with compareBeforeWrite and without. */
export async function ontoACard(
  rig: Rig,
  payload: Payload,
  options: AgentOptions,
  rounds: number,
  say: (line: string) => void,
): Promise<Alike[]> {
  const slot = rig.device.slots.b
  await rig.freshSlot(payload.imageBytes)
  await installWithAgent(rig, payload, options)
  const image = await readFile(slot)
  const card = await insertCard(slot)
  try {
    const results: Alike[] = []
    for (const share of SHARES) {
      const runs = { compared: [] as number[], unseen: [] as number[], written: [] as number[] }
      for (let round = 0; round < rounds; round++) {
        const unseen = await install(share, false)
        const compared = await install(share, true)
        runs.unseen.push(unseen.ms / 1000)
        runs.compared.push(compared.ms / 1000)
        runs.written.push(compared.writtenBytes / image.length)
        const seconds = `unseen ${(unseen.ms / 1000).toFixed(2)} s, compared ${(compared.ms / 1000).toFixed(2)} s`
        say(`${share * 100} % alike, round ${round + 1} of ${rounds}: ${seconds}`)
      }
      const { written, ...seconds } = runs
      results.push({ share, ...seconds, writtenPerImageByte: Number(median(written).toFixed(3)) })
    }
    return results
  } finally {
    await card.remove()
  }

  async function install(share: number, compareBeforeWrite: boolean) {
    await fill(card, image, share)
    const slots = { a: { device: rig.device.slots.a }, b: { device: card.device }, compareBeforeWrite }
    return withSettings(rig, { slots }, () => installWithAgent(rig, payload, { ...options, call: card.call }))
  }
}

/** As another build of the image would: the tables at its start are alike, and the free space at its end. */
async function fill({ device }: Card, image: Buffer, share: number): Promise<void> {
  const alike = share * image.length
  const first = aligned(alike / 4)
  const second = image.length - aligned((alike * 3) / 4)
  const file = await open(device, 'r+')
  try {
    await write(file, image.subarray(0, first), 0)
    await write(file, randomBytes(second - first), first)
    await write(file, image.subarray(second), second)
    await file.sync()
  } finally {
    await file.close()
  }
}

const aligned = (bytes: number): number => Math.floor(bytes / 4096) * 4096

async function write(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten
  }
}
