import { setTimeout as sleep } from 'node:timers/promises'
import { contentPath } from '../bench/authoring/files.ts'
import { fileUrls } from '../bench/authoring/manifest.ts'
import { type AgentOptions, forget, startAgent } from './agent-run.ts'
import { DEVICE, type Payload, type Rig } from './rig.ts'

/** Bytes that the server gave for each byte of the file, when the agent is killed `cuts` times on the way. */
export async function fetchedWithCuts(
  rig: Rig,
  payload: Payload,
  options: AgentOptions,
  cuts: number,
): Promise<number> {
  await forget(rig)
  await rig.freshSlot(payload.imageBytes)
  // Where a cut comes is left to chance, as in life.
  const places = Array.from({ length: cuts }, () => Math.random() * payload.bytes).sort((a, b) => a - b)
  const [file] = payload.update.files
  let ordered = false
  for (const place of [...places, undefined]) {
    const agent = await startAgent(rig, options)
    const there = agent.line(({ event, step, bytes }) =>
      place === undefined
        ? event === 'step' && step === 'activate'
        : event === 'install.progress' && Number(bytes) >= place,
    )
    if (!ordered)
      rig.bench.deploy(DEVICE, payload.update, { fileUrls: fileUrls(payload.update.files, rig.content.faultyUrl) })
    ordered = true
    await there
    await agent.kill('SIGKILL')
    // SWUpdate sees the end of its pipe, and ends; the hub sees the end of the connection.
    await sleep(500)
  }
  const stats = await rig.content.stats()
  return Number((stats[contentPath(file!)]!.bytesSent / payload.bytes).toFixed(3))
}
