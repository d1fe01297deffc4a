import { access, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Bench, startBench } from '../bench.ts'
import { identity, PI_UPDATE, urlsForGuest } from '../qemu/guest.ts'
import { type PoweredDevice, startDevice } from '../workbench/control.ts'
import { deviceFolder, deviceStatus } from '../workbench/device-folder.ts'
import { lockFolder } from '../workbench/folder-lock.ts'
import { FAILING_CHECK } from '../workbench/root-tree.ts'
import { buildBundle } from '../workbench/swu.ts'
import { serveCommands } from './control.ts'
import { deviceFacts, OWN_DEVICE, settledFacts } from './facts.ts'
import { type Place, removePid, writePid } from './place.ts'

const DEVICE = 'pi1'
/** In QEMU, unless told. */
const GUEST = 'my-pi'
const MIB = 1 << 20
/** Room for a system of one's own. */
const SLOT_BYTES = 64 * MIB
const IMAGE_BYTES = 8 * MIB

/** Runs the bench in this process until it is told to end by SIGTERM. The current folder is the state folder. */
export async function serve(place: Place): Promise<never> {
  await lockFolder('bench', place.dir, `a bench runs in ${place.dir} already`)
  await writePid(place)
  let bench: Bench | undefined
  let device: PoweredDevice | undefined
  const end = async (): Promise<never> => {
    await device?.powerOff()
    await bench?.stop()
    await removePid(place)
    process.exit(0)
  }
  process.once('SIGTERM', end)
  process.once('SIGINT', end)

  const said = (line: string) => console.log(new Date().toISOString(), line)
  bench = await open(place, said)
  const { hub } = bench
  if (!hub.hasDevice(OWN_DEVICE)) hub.createDevice(OWN_DEVICE)
  const made = hub.hasDevice(DEVICE) && (await exists(bench.deviceDir(DEVICE)))
  if (!made) await bench.addDevice(DEVICE, { slotBytes: SLOT_BYTES })
  const bundle = await readyBundle(bench)
  await switchOn()
  const facts = await settledFacts(bench, place, bundle)
  await serveCommands(commands(bench))
  said('ready')
  return new Promise<never>(() => {})

  async function switchOn(): Promise<void> {
    const on = await startDevice(bench!.deviceDir(DEVICE))
    device = on
    void on.ended.then(() => {
      if (device === on) device = undefined
    })
    await hub.waitForConnected(DEVICE, {
      timeoutMs: 60_000,
      what: `${DEVICE} to connect: see ${deviceFolder(on.dir).agentLog}`,
    })
  }

  function commands(running: Bench) {
    return {
      status: async () => ({ ...facts, devices: [await deviceFacts(running, DEVICE, device ? 'on' : 'off')] }),
      deploy: async ({ id = DEVICE, swu, version }: Record<string, string | undefined>) => {
        known(running, id)
        const inQemu = await exists(join(place.cards, id))
        if (inQemu && !swu) throw new Error(`tell it with --swu: the ready bundle is not for ${id}`)
        const file = swu ?? bundle.file
        const claimed = version ?? (await versionOf(file))
        const update = await running.importBundle(file, claimed, inQemu ? PI_UPDATE : {})
        const options = inQemu ? { fileUrls: urlsForGuest(running, update) } : {}
        return { workflowId: running.deploy(id, update, options), device: id, version: claimed }
      },
      /** Answers with the folder of the files. */
      card: async ({ id = GUEST }: Record<string, string | undefined>) => {
        if (id === DEVICE) throw new Error(`${DEVICE} runs on the workbench: another id, please`)
        if (!hub.hasDevice(id)) hub.createDevice(id)
        const folder = join(place.cards, id)
        await mkdir(folder, { recursive: true, mode: 0o700 })
        for (const [name, content] of Object.entries(await identity({ bench: running, id }))) {
          await writeFile(join(folder, name), content, { mode: 0o600 })
        }
        return folder
      },
      /** Answers with what the twin shows once the deployment has come to an end. */
      result: async ({ id = DEVICE, workflowId }: Record<string, string | undefined>) => {
        const ended = (reported: Record<string, unknown>) => {
          const { agent } = (reported.deviceUpdate ?? {}) as { agent?: { state?: number; workflow?: { id?: string } } }
          return agent?.workflow?.id === workflowId && agent?.state !== 6 ? agent : undefined
        }
        await hub.waitForReported(id, reported => ended(reported) !== undefined, { timeoutMs: 3600_000 })
        return ended(hub.getTwin(id).properties.reported)
      },
      cancel: ({ id = DEVICE }: Record<string, string | undefined>) => {
        known(running, id)
        running.cancel(id)
      },
      retry: ({ id = DEVICE }: Record<string, string | undefined>) => {
        known(running, id)
        running.retry(id, new Date().toISOString())
      },
      bundle: async ({ version = '', file = '', mib = '8', unhealthy }: Record<string, string | undefined>) => {
        const tree = { version, ...(unhealthy && { healthChecks: { '50-never': FAILING_CHECK } }) }
        await buildBundle(file, { tree, imageBytes: Number(mib) * MIB }, running.signer)
      },
      power: async ({ how }: Record<string, string | undefined>) => {
        if (how === 'cut') await device?.powerCut()
        else if (how === 'off') await device?.powerOff()
        else if (!device) await switchOn()
      },
    }
  }
}

function known(bench: Bench, id: string): void {
  if (!bench.hub.hasDevice(id)) throw new Error(`no device ${id} is registered; there are ${DEVICE} and ${OWN_DEVICE}`)
}

/** Addresses in a twin stay good over a restart: the content server gets the port of last time, where it is still free. */
async function open({ dir }: Place, log: (line: string) => void): Promise<Bench> {
  const file = join(dir, 'content-port')
  const contentPort = Number(await readFile(file, 'utf8').catch(() => '0'))
  const bench = await startBench({ stateDir: dir, contentPort, log }).catch(error => {
    if (error.code !== 'EADDRINUSE') throw error
    return startBench({ stateDir: dir, log })
  })
  await writeFile(file, String(bench.content.port))
  return bench
}

/** A bundle of the next system after the device's, in the folder of the content server. */
async function readyBundle(bench: Bench): Promise<{ file: string; version: string }> {
  const { versions, booted = 'a' } = await deviceStatus(bench.deviceDir(DEVICE))
  const version = `${Number.parseInt(versions[booted] ?? '1', 10) + 1}.0.0`
  const file = join(bench.contentDir, `system-${version}.swu`)
  if (!(await exists(file))) {
    await buildBundle(file, { tree: { version }, imageBytes: IMAGE_BYTES }, bench.signer)
  }
  return { file, version }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** `sw-description` is the first file of a bundle, and text. */
async function versionOf(swu: string): Promise<string> {
  const head = (await readFile(swu)).subarray(0, 64 << 10).toString('latin1')
  const version = /^\s*version\s*=\s*"([^"]+)"/m.exec(head)?.[1]
  if (version === undefined) throw new Error(`${swu} has no sw-description with a version: tell it with --version`)
  return version
}
