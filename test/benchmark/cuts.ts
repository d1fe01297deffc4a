import { readFile, writeFile } from 'node:fs/promises'
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
  say: (line: string) => void,
): Promise<number> {
  await forget(rig)
  await rig.freshSlot(payload.imageBytes)
  // Where a cut comes is left to chance, as in life.
  const places = Array.from({ length: cuts }, () => Math.random() * payload.bytes).sort((a, b) => a - b)
  const [file] = payload.update.files
  let ordered = false
  for (const [cut, place] of [...places, undefined].entries()) {
    if (place !== undefined) say(`power cut ${cut + 1} of ${cuts}`)
    // Another boot of the machine, as after a power cut.
    await writeFile(rig.device.commandLine, `adu.slot=a adu.boot=${place}\n`)
    const agent = await startAgent(rig, options)
    const there =
      place === undefined ? agent.event('install.end') : agent.event('install.progress', ({ bytes }) => bytes >= place)
    if (!ordered)
      rig.bench.deploy(DEVICE, payload.update, { fileUrls: fileUrls(payload.update.files, rig.content.faultyUrl) })
    ordered = true
    await there
    const children = await readFile(`/proc/${agent.pid}/task/${agent.pid}/children`, 'utf8')
    await agent.kill('SIGKILL')
    // As systemd ends whatever is left of a unit: SWUpdate would wait for its next bundle.
    for (const child of children.split(' ').filter(Boolean)) kill(-Number(child))
    // The hub sees the end of the connection.
    await sleep(500)
  }
  const stats = await rig.content.stats()
  return Number((stats[contentPath(file!)]!.bytesSent / payload.bytes).toFixed(3))
}

/** A process group, which may be none, or gone. */
function kill(group: number): void {
  try {
    process.kill(group, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
