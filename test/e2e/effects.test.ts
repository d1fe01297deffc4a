import assert from 'node:assert/strict'
import { existsSync, watch } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { AgentError } from '../../src/domain/errors.ts'
import { ercText } from '../../src/domain/result-codes.ts'
import { readBootEnv } from '../bench/workbench/boot-env.ts'
import { readJournal } from '../bench/workbench/device-folder.ts'
import { isTaken } from '../every.ts'
import { type Effect, errorAt, type Plan, planFile, readRecord, recordFile } from './effects.ts'
import { type AgentReport, Pi, sha256Of } from './pi.ts'
import { startRig } from './rig.ts'

/**
 * A power cut before and after, and an error at, every effect that a deployment has on the world: the first run records the
 * effects, then there is one run for each. Whatever happens, the device settles on a good system and its report is true.
 */

/** Runs at the same time: more than cores, because a run mostly waits. */
const AT_ONCE = 4
/** In milliseconds. */
const PATIENCE = 120_000
const RANGE = 256 << 10

const tree = { payloadBytes: 64 << 10 }
const imageBytes = 1 << 20
const rig = await startRig()
const update = await rig.system('2.0.0', { tree, bundle: { imageBytes } })

let devices = 0
const record = await run({})
const effects = distinct(record.effects)
const outcomes = new Map<string, Partial<Record<NonNullable<Plan['do']>, string>>>()

test('the record of the undisturbed run', () => {
  assert.equal(record.outcome, '700')
  const seen = new Set(effects.map(({ at }) => at.split('#')[0]))
  for (const name of ['journal.write', 'boot.arm', 'boot.start', 'boot.commit', 'host.reboot', 'installer.install']) {
    assert.ok(seen.has(name), `${name} is one of the effects`)
  }
  for (const name of [
    'content.get.body-middle',
    'installer.install.bytes-end',
    'hub.connect.report',
    'leftovers.noting-middle',
  ]) {
    assert.ok(seen.has(name), `${name} is one of the effects`)
  }
})

/** A read leaves the world as it was: a cut after it, or before a read that follows it, is the cut before it, which is tried. */
const READS =
  /^(boot\.read|host\.(version|information|failedUnits|findings)|(journal|conditions|flight|workNotes|keyStore)\.read)#/

const runs = effects.flatMap(({ at, later }, index) => {
  const place = /-(first|middle|end)#/.test(at)
  const known = READS.test(at) && READS.test(effects[index - 1]?.at ?? '')
  const kinds = [
    ...(known ? [] : ['cut before' as const]),
    ...(place || READS.test(at) ? [] : ['cut after' as const]),
    ...(later && errorAt(at) ? ['error' as const] : []),
  ]
  return kinds.map(kind => ({ at, kind }))
})
let missed = 0

describe('every effect', { concurrency: AT_ONCE, timeout: 60 * 60_000 }, () => {
  for (const { at, kind } of runs.filter((_, index) => isTaken(index))) {
    test(`${kind} ${at}`, async () => {
      const { outcome, reached } = await run({ at, do: kind })
      const row = outcomes.get(at) ?? {}
      outcomes.set(at, row)
      row[kind] = reached ? outcome : `(${outcome})`
      if (!reached) missed += 1
      if (kind !== 'error') assert.equal(outcome, '700', 'a power cut costs time, not the update')
    })
  }
})

after(() => {
  const rows = effects.map(({ at }) => {
    const { 'cut before': before = '', 'cut after': behind = '', error = '' } = outcomes.get(at) ?? {}
    return `${at.padEnd(40)} ${before.padEnd(12)} ${behind.padEnd(12)} ${error}`
  })
  const header = `${'effect'.padEnd(40)} ${'cut before'.padEnd(12)} ${'cut after'.padEnd(12)} error`
  console.log([header, ...rows, `(…): that effect did not come in this run, ${missed} of ${runs.length}`].join('\n'))
  // How often the loop looks depends on timing a little; what it does must not.
  assert.ok(missed <= runs.length / 10, `${missed} of ${runs.length} runs were undisturbed`)
})

interface Outcome {
  readonly effects: readonly Effect[]
  /** Result code, and for a failure the extended one. */
  readonly outcome: string
  /** What was planned has happened. */
  readonly reached: boolean
}

/** One device from its first start until it has nothing left to do, switched on again after a power cut. */
async function run(trouble: Pick<Plan, 'at' | 'do'>): Promise<Outcome> {
  devices += 1
  const id = `pi-${devices}`
  const dir = join(rig.bench.deviceDir(id), 'effects')
  const pi = await Pi.make(rig.bench, id, {
    a: { version: '1.0.0', ...tree },
    slotBytes: imageBytes,
    piAdu: { content: { rangeBytes: RANGE }, health: { retrySeconds: 0.2 } },
    power: {
      agent: fileURLToPath(new URL('faulty-agent.js', import.meta.url)),
      environment: { EFFECTS_DIR: dir },
      panicDelayMs: 100,
    },
  })
  await mkdir(dir)
  await writeFile(recordFile(dir), '')
  const middle = update.files[0]!.sizeInBytes / 2
  const plan: Plan = { ...trouble, half: { content: RANGE / 2, installer: middle, leftovers: middle } }
  await writeFile(planFile(dir), JSON.stringify(plan))
  const running = await sha256Of(pi.folder.slots.a)
  try {
    await pi.switchOn()
    const order = pi.deploy(update)
    let cuts = 0
    while (!(await settled(pi, dir, order))) {
      cuts += 1
      assert.ok(cuts === 1 && trouble.do?.startsWith('cut'), 'the device is off, and nobody has planned it')
      await pi.switchOn()
    }
    const outcome = await judge(pi, order, trouble)
    assert.equal(await sha256Of(pi.folder.slots.a), running, 'the slot that ran has not been written')
    const { effects } = readRecord(dir)
    const reached = trouble.do === 'error' ? effects.some(({ at }) => at === trouble.at) : cuts === 1
    return { effects, outcome, reached }
  } catch (error) {
    console.error(`--- ${trouble.do} ${trouble.at}\n${await pi.story()}\nlast effects: ${lastEffects(dir)}`)
    throw error
  } finally {
    await pi.remove()
  }
}

/** Resolves to true when the device has nothing left to do, to false when its power is cut. */
async function settled(pi: Pi, dir: string, order: string): Promise<boolean> {
  const done = async (): Promise<boolean> => {
    if (pi.finals(order).length === 0 || !readRecord(dir).waits) return false
    const journal = (await readJournal(pi.folder.dir)) as { reported?: boolean } | undefined
    return journal?.reported === true && readRecord(dir).waits
  }
  let off = (): void => {}
  let watcher: ReturnType<typeof watch> | undefined
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<boolean>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`not settled within ${PATIENCE / 1000} s`)), PATIENCE)
      const look = (): void => void done().then(yes => yes && resolve(true), reject)
      watcher = watch(recordFile(dir), look)
      off = rig.bench.hub.onEvent(look)
      pi.power.ended.then(() => resolve(false))
      look()
    })
  } finally {
    clearTimeout(timer)
    watcher?.close()
    off()
  }
}

/** The system is good, the trial over, the report true: 700 if and only if the new version is there for good. */
async function judge(pi: Pi, order: string, { at, do: kind }: Pick<Plan, 'at' | 'do'>): Promise<string> {
  const report: AgentReport = await pi.settled(order)
  const { resultCode, extendedResultCodes, resultDetails } = report.lastInstallResult
  const { booted, boot } = await pi.power.status()
  assert.deepEqual(await readBootEnv(pi.folder.bootEnv), boot)
  assert.equal(boot?.primary, booted, 'the system that runs is the one that starts next')
  const version = await pi.version()
  for (const other of pi.finals(order)) assert.deepEqual(other, report, 'no report says anything else')
  if (resultCode === 700) {
    assert.deepEqual([version, booted, boot?.trial], ['2.0.0', 'b', 'none'])
    assert.equal(report.installedUpdateId, '{"provider":"contoso","name":"workbench","version":"2.0.0"}')
    return '700'
  }
  assert.deepEqual([resultCode, report.state, version], [0, 255, '1.0.0'], resultDetails ?? '')
  assert.equal(report.installedUpdateId, undefined)
  const cause = kind === 'error' ? errorAt(at!) : undefined
  assert.ok(cause instanceof AgentError, `nothing went wrong that could cost the update: ${resultDetails}`)
  const code = ercText(cause.extendedResultCode)
  assert.equal(extendedResultCodes, code)
  assert.equal(resultDetails, `injected (${code})`)
  return `0 ${code}`
}

/** Each once, in the order in which they came first. */
function distinct(all: readonly Effect[]): Effect[] {
  return [...new Map(all.map(effect => [effect.at, effect])).values()]
}

function lastEffects(dir: string): string {
  const found = existsSync(recordFile(dir)) ? readRecord(dir).effects : []
  return found
    .slice(-5)
    .map(({ at }) => at)
    .join(', ')
}
