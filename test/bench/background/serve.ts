import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { currentService, PROCESS_DEPLOYMENT } from '../authoring/deploy.ts'
import type { ImportedUpdate } from '../authoring/manifest.ts'
import { importWanted } from '../authoring/wanted.ts'
import { type Bench, startBench } from '../bench.ts'
import { identity, PI_UPDATE, urlsForGuest } from '../qemu/guest.ts'
import type { Button } from '../web/web.ts'
import { type PoweredDevice, startDevice } from '../workbench/control.ts'
import { olderMethods } from '../workbench/device.ts'
import { deviceFolder, deviceStatus } from '../workbench/device-folder.ts'
import { lockFolder } from '../workbench/folder-lock.ts'
import { FAILING_CHECK } from '../workbench/root-tree.ts'
import { buildBundle } from '../workbench/swu.ts'
import { serveCommands } from './control.ts'
import { deviceFacts, guestFacts, OWN_DEVICE, settledFacts } from './facts.ts'
import { PhasedUpdates } from './phased.ts'
import { type Place, removePid, writePid } from './place.ts'
import { WebPage } from './web.ts'

const DEVICE = 'pi1'
/** Default device, for QEMU. */
const GUEST = 'my-pi'
const MIB = 1 << 20
/** Room for a system of one's own. */
const SLOT_BYTES = 64 * MIB
const IMAGE_BYTES = 8 * MIB

/** Runs the bench in this process until SIGTERM. The current folder is the state folder. */
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
  if (!made) await bench.addDevice(DEVICE, { slotBytes: SLOT_BYTES, piAdu: olderMethods('localhost'), steps: {} })
  const bundle = await readyBundle(bench)
  await switchOn()
  const facts = await settledFacts(bench, place, bundle)
  const orders = commands(bench)
  const web = new WebPage(
    {
      ...{ bench, id: DEVICE, controlSocket: deviceFolder(bench.deviceDir(DEVICE)).controlSocket },
      isOn: () => device !== undefined,
      guests: async () => (await cardIds()).filter(id => hub.hasDevice(id)),
      press: (button, id) => press(bench!, orders, button, id),
    },
    place.dir,
    said,
  )
  await serveCommands({
    ...orders,
    status: async () => ({ ...(await orders.status()), web: await web.url }),
    /** Answers with the URL of the page. */
    web: ({ address = '127.0.0.1' }) => web.open(address),
  })
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
    const phased = new PhasedUpdates(running)
    return {
      status: async () => {
        const guests = (await cardIds()).filter(id => hub.hasDevice(id))
        const devices = [await deviceFacts(running, DEVICE, device ? 'on' : 'off')]
        return { ...facts, devices: [...devices, ...guests.map(id => guestFacts(running, id, join(place.cards, id)))] }
      },
      deploy: async (wanted: Record<string, string | undefined>) => {
        const { id = DEVICE, swu, steps } = wanted
        await known(running, id)
        const inQemu = await exists(join(place.cards, id))
        if (steps !== undefined && phased.takes(id))
          throw new Error(`${id} is on the contract of 2021, whose updates have one step: tell it with --swu`)
        if (phased.takes(id)) {
          const { file, version } = await bundleFor(id, inQemu, swu, wanted.version)
          const urls = inQemu ? (update: ImportedUpdate) => urlsForGuest(running, update) : undefined
          return { workflowId: await phased.deploy(id, file, version, urls), device: id, version }
        }
        const { version, update } = await imported(id, inQemu, wanted)
        const options = inQemu ? { fileUrls: urlsForGuest(running, update) } : {}
        return { workflowId: running.deploy(id, update, options), device: id, version }
      },
      /** Nothing is deployed. */
      offline: async (wanted: Record<string, string | undefined>) => {
        const { id = DEVICE, out = '' } = wanted
        await known(running, id)
        if (phased.takes(id)) throw new Error(`${id} is on the contract of 2021, which has no signed deployments`)
        const { version, update } = await imported(id, await exists(join(place.cards, id)), wanted)
        return { ...(await running.writeOffline(update, out)), device: id, version }
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
        if (phased.takes(id)) return phased.result(id)
        const ended = (reported: Record<string, unknown>) => {
          const { agent } = (reported.deviceUpdate ?? {}) as { agent?: { state?: number; workflow?: { id?: string } } }
          return agent?.workflow?.id === workflowId && agent?.state !== 6 ? agent : undefined
        }
        await hub.waitForReported(id, reported => ended(reported) !== undefined, { timeoutMs: 3600_000 })
        return ended(hub.getTwin(id).properties.reported)
      },
      /** Answers with what was cancelled. */
      cancel: async ({ id = DEVICE }: Record<string, string | undefined>) => {
        await known(running, id)
        if (phased.takes(id)) return { device: id, workflowId: phased.cancel(id) }
        const workflowId = await deployed(running, id)
        running.cancel(id)
        return { device: id, workflowId }
      },
      /** Answers with what was sent again. */
      retry: async ({ id = DEVICE }: Record<string, string | undefined>) => {
        if (phased.takes(id)) throw new Error('the contract of 2021 has no retry: cancel, then deploy again')
        const workflowId = await deployed(running, id)
        running.retry(id, new Date().toISOString())
        return { device: id, workflowId }
      },
      bundle: async ({ version = '', file = '', mib = '8', unhealthy }: Record<string, string | undefined>) => {
        const tree = { version, ...(unhealthy && { healthChecks: { '50-never': FAILING_CHECK } }) }
        await buildBundle(file, { tree, imageBytes: Number(mib) * MIB }, running.signer)
      },
      /** Answers with whether that changed anything. */
      power: async ({ how }: Record<string, string | undefined>) => {
        const changed = (how === 'on') === (device === undefined)
        if (how === 'cut') await device?.powerCut()
        else if (how === 'off') await device?.powerOff()
        else if (!device) await switchOn()
        return { device: DEVICE, changed }
      },
    }
  }

  /** Default: the prepared bundle. */
  async function bundleFor(id: string, inQemu: boolean, swu: string | undefined, version: string | undefined) {
    if (inQemu && !swu) throw new Error(`tell it with --swu: the ready bundle is not for ${id}`)
    const file = swu ?? bundle.file
    return { file, version: version ?? (await versionOf(file)) }
  }

  /** The update of a bundle or a list of steps. */
  async function imported(id: string, inQemu: boolean, wanted: Record<string, string | undefined>) {
    const more = inQemu ? PI_UPDATE : {}
    if (wanted.steps !== undefined) return importWanted(bench!, JSON.parse(wanted.steps), wanted.version, more)
    const { file, version } = await bundleFor(id, inQemu, wanted.swu, wanted.version)
    return { version, update: await bench!.importBundle(file, version, more) }
  }

  /** What a button of the page does. Returns a sentence. */
  async function press(bench: Bench, orders: ReturnType<typeof commands>, button: Button, id: string): Promise<string> {
    switch (button) {
      case 'deploy': {
        const { file, version } = await readyBundle(bench)
        const { workflowId } = await orders.deploy({ id, swu: file, version })
        return `deployed ${version}, workflow ${workflowId}`
      }
      case 'cancel':
        return `cancelled, workflow ${(await orders.cancel({ id })).workflowId}`
      case 'cut':
        await orders.power({ how: 'cut' })
        return 'it has no power'
      case 'on':
        await orders.power({ how: 'on' })
        return 'it is on and connected'
    }
  }

  function cardIds(): Promise<string[]> {
    return readdir(place.cards).then(
      names => names.sort(),
      () => [],
    )
  }

  /** The workflow id. */
  async function deployed(bench: Bench, id: string): Promise<string> {
    await known(bench, id)
    const { workflow } = currentService(bench.hub.getTwin(id).properties.desired)
    const { action, id: workflowId } = (workflow ?? {}) as { action?: number; id?: string }
    if (action !== PROCESS_DEPLOYMENT || !workflowId) throw new Error(`nothing is deployed to ${id}`)
    return workflowId
  }

  async function known(bench: Bench, id: string): Promise<void> {
    if (bench.hub.hasDevice(id)) return
    const ids = [DEVICE, ...(await cardIds()), OWN_DEVICE]
    throw new Error(`no device ${id} is registered; there are ${ids.join(', ')}`)
  }
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
