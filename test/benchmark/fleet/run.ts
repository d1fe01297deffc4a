import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { deployPatch } from '../../bench/authoring/deploy.ts'
import type { Authority } from '../../bench/authoring/keys.ts'
import { signManifest } from '../../bench/authoring/sign.ts'
import { bundleOf } from '../../bench/control-plane/control-plane.ts'
import type { BenchHub, JsonObject } from '../../bench/hub/hub.ts'
import { counting, type Seen } from './counting.ts'
import { manifestOf } from './manifest.ts'
import type { Orders } from './worker.ts'

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url))
/** Milliseconds for a fleet to connect, and to take a deployment beside the spread. */
const PATIENCE = 300_000

export interface Round {
  readonly connecting: readonly Seen[]
  readonly idle: readonly Seen[]
  readonly idleSeconds: number
  readonly deployment: readonly Seen[]
}

/** A fleet connects, is left alone for a while, takes one deployment, and is switched off. */
export async function round(
  hub: BenchHub,
  authority: Authority,
  ids: readonly string[],
  options: {
    readonly version: string
    readonly processes: number
    readonly spread: number
    readonly idleSeconds: number
  },
): Promise<Round> {
  const { version, processes, spread, idleSeconds } = options
  const connecting = counting(hub)
  const workers = startWorkers(hub, authority, ids, processes, spread)
  const methods = '$iothub/methods/POST/#'
  const all = (check: (id: string) => boolean, what: string) =>
    hub.waitFor(() => ids.every(check), { timeoutMs: PATIENCE + spread, what })
  await all(id => hub.isSubscribed(id, methods), 'the fleet to connect')
  // The greeting of the last one.
  await sleep(3000)
  connecting.stop()
  const idle = counting(hub)
  await sleep(idleSeconds * 1000)
  idle.stop()

  const deployment = counting(hub)
  for (const worker of workers) worker.on('message', () => deployment.add('download'))
  deploy(hub, authority, ids, version)
  await all(id => isApplied(hub, id, version), 'the fleet to be updated')
  // Who has reported may still have something to say.
  await sleep(3000)
  deployment.stop()
  for (const worker of workers) worker.send('end')
  await hub.waitFor(() => ids.every(id => !hub.isConnected(id)), { timeoutMs: PATIENCE, what: 'the fleet to go' })
  return { connecting: connecting.seen, idle: idle.seen, idleSeconds, deployment: deployment.seen }
}

function startWorkers(
  hub: BenchHub,
  { rootKeyJwks }: Authority,
  ids: readonly string[],
  processes: number,
  spread: number,
): ChildProcess[] {
  const share = Math.ceil(ids.length / processes)
  return Array.from({ length: processes }, (_, index) => {
    const worker = fork(WORKER)
    const mine = ids.slice(index * share, (index + 1) * share)
    const connectionStrings = mine.map(id => hub.deviceConnectionString(id))
    worker.send({ connectionStrings, hubCa: hub.ca, rootKeys: rootKeyJwks, spread } satisfies Orders)
    return worker
  })
}

/** As the service orders a deployment for a group: to all within moments. */
function deploy(hub: BenchHub, authority: Authority, ids: readonly string[], version: string): void {
  const manifest = manifestOf(version, bundleOf(version))
  const signature = signManifest(manifest, authority)
  const workflowId = randomUUID()
  const fileUrls = { f1: `https://content.example/${version}.swu` }
  for (const id of ids) {
    const desired = hub.getTwin(id).properties.desired as JsonObject
    hub.updateDesired(id, deployPatch(desired, { workflowId, manifest, signature, fileUrls }))
  }
}

function isApplied(hub: BenchHub, id: string, version: string): boolean {
  const { deviceUpdate } = hub.getTwin(id).properties.reported as {
    deviceUpdate?: { agent?: { state?: number; installedUpdateId?: string } }
  }
  return deviceUpdate?.agent?.state === 0 && deviceUpdate.agent.installedUpdateId?.includes(`"${version}"`) === true
}
