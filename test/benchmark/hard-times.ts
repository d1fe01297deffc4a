import { setTimeout as sleep } from 'node:timers/promises'
import { contentPath } from '../bench/authoring/files.ts'
import { fileUrls } from '../bench/authoring/manifest.ts'
import { type AgentOptions, forget, installWithAgent, startAgent } from './agent-run.ts'
import { DEVICE, type Payload, type Rig } from './rig.ts'
import { withSettings } from './settings.ts'

const LOOK_MS = 5

/** Bytes that the server gave for each byte of the file, when it ends the connection so many times at random places. */
export async function fetchedOverBadWire(rig: Rig, payload: Payload, options: AgentOptions, cuts: number) {
  await forget(rig)
  await rig.freshSlot(payload.imageBytes)
  const [file] = payload.update.files
  const path = contentPath(file!)
  const { bytesSent: before = 0, cuts: cutsBefore = 0 } = (await rig.content.stats())[path] ?? {}
  const agent = await startAgent(rig, options)
  try {
    const cut = () => rig.content.setFaults({ [path]: { cutAfter: Math.floor(Math.random() * 2 ** 20), times: 1 } })
    await cut()
    let isDone = false
    const done = agent.event('install.end').finally(() => {
      isDone = true
    })
    done.catch(() => {})
    rig.bench.deploy(DEVICE, payload.update, { fileUrls: fileUrls(payload.update.files, rig.content.faultyUrl) })
    for (let seen = 1; seen < cuts; seen++) {
      while (!isDone && ((await rig.content.stats())[path]?.cuts ?? 0) < cutsBefore + seen) await sleep(LOOK_MS)
      await cut()
    }
    await done
  } finally {
    await agent.kill()
  }
  const { bytesSent } = (await rig.content.stats())[path]!
  return Number(((bytesSent - before) / payload.bytes).toFixed(3))
}

/** Of `bytesPerSecond`, what an installation that is held to it makes use of. */
export async function throttledShare(rig: Rig, payload: Payload, options: AgentOptions, bytesPerSecond: number) {
  await rig.freshSlot(payload.imageBytes)
  const content = { maxBytesPerSecond: bytesPerSecond }
  const { ms } = await withSettings(rig, { content }, () => installWithAgent(rig, payload, options))
  return Number((payload.bytes / (ms / 1000) / bytesPerSecond).toFixed(3))
}
