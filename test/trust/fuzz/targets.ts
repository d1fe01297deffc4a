import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { readConfig } from '../../../src/config.ts'
import type { UpdateManifest, Verified } from '../../../src/domain/deployment.ts'
import { AgentError, ConfigError, UsageError } from '../../../src/domain/errors.ts'
import { readCpio } from '../../../src/operator/bundle/cpio.ts'
import { Failure } from '../../../src/operator/failure.ts'
import { Checks } from '../../../src/trust/checks.ts'
import { readDetached } from '../../../src/trust/detached.ts'
import { CallRefused, readFirmwareCall } from '../../../src/trust/firmware-call.ts'
import { JsonError, readJson } from '../../../src/trust/json.ts'
import { verifySignature } from '../../../src/trust/jws.ts'
import { isMini, type MiniManifest, parseManifest } from '../../../src/trust/manifest.ts'
import { judge } from '../../../src/trust/order.ts'
import { readRootKeyPackage } from '../../../src/trust/root-key-package.ts'
import { ringOf } from '../../../src/trust/root-keys.ts'
import { packageUrlOf, readDesired } from '../../../src/trust/service.ts'
import { explain } from '../../../src/verify.ts'
import { publicNumbers } from '../../bench/authoring/keys.ts'
import { cook, MANIFEST } from '../../bench/authoring/recipe.ts'
import { newKeys } from '../flaws/flaw.ts'
import { cpio } from './cpio.ts'
import { mutatedJson, mutatedText } from './mutate.ts'

/** One thing that reads what comes from outside. `check` throws when it does what it must not. */
export interface Target {
  readonly name: string
  /** In CI. */
  readonly runs: number
  readonly property: () => fc.IRawProperty<unknown, boolean>
}

const LONGEST = 1000

function target<T>(
  name: string,
  runs: number,
  inputs: fc.Arbitrary<T>,
  check: (input: T) => void | Promise<void>,
): Target {
  const timed = async (input: T): Promise<void> => {
    const begun = performance.now()
    await check(input)
    const took = performance.now() - begun
    assert.ok(took < LONGEST, `took ${Math.round(took)} ms`)
  }
  return { name, runs, property: () => fc.asyncProperty(inputs, timed) }
}

/** Runs `read`, which may fail in the one way that is foreseen; gives what it made of the input. */
async function orRefused<T>(read: () => T | Promise<T>, ...foreseen: (new (...args: never[]) => Error)[]) {
  try {
    return await read()
  } catch (error) {
    if (foreseen.some(kind => error instanceof kind)) return undefined
    throw error
  }
}

const keys = newKeys()
const anchors = {
  builtIn: keys.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) })),
  configured: [],
}
const properties = { manufacturer: 'Contoso', model: 'Toaster' }
const terms = { ring: ringOf(anchors, undefined), compatibility: 'enforce', properties } as const
const good = cook(keys)
const service = good.service as { updateManifest: string; updateManifestSignature: string }
const desired = { $version: 4, deviceUpdate: { __t: 'c', service }, other: { a: [1, { b: null }] } }
const packageText = good.rootKeyPackage.toString()

/** The agent's way with a desired document. An order may only come of it when what was signed is untouched. */
function readTwin(document: unknown): void {
  const reading = readDesired(document)
  if (!reading.service) return
  try {
    packageUrlOf(reading.service)
  } catch (error) {
    assert.ok(error instanceof AgentError)
  }
  const { order } = judge(reading.service, terms)
  if (order?.kind !== 'deploy') return
  assert.equal(reading.service.updateManifest, service.updateManifest)
  assert.equal(reading.service.updateManifestSignature, service.updateManifestSignature)
  assert.match(order.workflow.id, /^[\w.-]{1,128}$/)
  assert.match(order.update.url, /^https?:/)
}

/** Whatever a manifest says, what is made of it is safe to use. */
function checkManifest(manifest: Verified<UpdateManifest> | Verified<MiniManifest> | undefined): void {
  if (!manifest) return
  assert.match(manifest.manifestVersion, /^[1245](\.\d+)*$/)
  assert.match(manifest.updateId.version, /^\d+(\.\d+){1,3}$/)
  const files = isMini(manifest) ? [manifest.detached] : manifest.steps.flatMap(step => step.files)
  for (const { fileName, sizeInBytes, sha256 } of files) {
    assert.ok(!/[/\\\0\n]/.test(fileName) && fileName !== '' && !/^(-|\.{1,2}$)/.test(fileName))
    assert.ok(Number.isSafeInteger(sizeInBytes) && sizeInBytes > 0)
    assert.equal(sha256.length, 32)
  }
}

const parsed = (text: string) => orRefused(() => parseManifest(text, new Checks()), AgentError)

const detachedOf = (text: string) => Buffer.from(text) as unknown as Verified<Buffer>
const mini = { updateId: MANIFEST.updateId } as unknown as Verified<MiniManifest>

const config = {
  schemaVersion: '1.1',
  manufacturer: 'contoso',
  model: 'toaster',
  agents: [
    {
      ...{ name: 'main', runas: 'adu', manufacturer: 'contoso', model: 'toaster' },
      connectionSource: { connectionType: 'string', connectionData: 'HostName=h;DeviceId=d;SharedAccessKey=AAAA' },
      additionalDeviceProperties: { region: 'eu' },
    },
  ],
  piAdu: {
    slots: { a: { device: '/dev/a' } },
    trust: { rootKeys: anchors.builtIn, minimumVersion: '1.0' },
    leds: { green: 5 },
  },
}
const folder = mkdtempSync(join(tmpdir(), 'fuzz-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

async function withFile<T>(content: string | Buffer, use: (file: string) => Promise<T>): Promise<T> {
  const file = join(folder, 'input')
  await writeFile(file, content, { mode: 0o600 })
  return use(file)
}

async function checkExplanation(document: unknown): Promise<void> {
  const circumstances = { ...terms, anchors, rootKeyPackage: undefined, detached: undefined, lowest: undefined }
  const explanation = await orRefused(() => explain(document, circumstances), UsageError)
  if (!explanation?.authentic) return
  assert.ok(JSON.stringify(document).includes(JSON.stringify(service.updateManifest)))
}

async function readArchive(bytes: Buffer): Promise<void> {
  await withFile(bytes, file =>
    orRefused(async () => {
      let files = 0
      for await (const { name, content } of readCpio(file, () => {})) {
        assert.ok(name.length <= 4096)
        for await (const chunk of content) assert.ok(chunk.length <= bytes.length)
        files += 1
        assert.ok(files <= bytes.length / 110)
      }
    }, Failure),
  )
}

const call = { fwPackageUri: 'https://contoso.example/a.swu', sha256: 'a'.repeat(64), sizeInBytes: 10, version: '2' }
const policy = { enabled: true, allowedHosts: ['contoso.example'], requireSha256: true }

export const TARGETS: readonly Target[] = [
  target('JSON text', 20_000, fc.oneof(mutatedText(service.updateManifest), fc.json(), fc.string()), async text => {
    const ours = await orRefused(() => ({ value: readJson(text) }), JsonError)
    if (ours) assert.deepEqual(ours.value, JSON.parse(text))
  }),
  target('twin, changed', 15_000, mutatedJson(desired), readTwin),
  target('twin, any', 5_000, fc.jsonValue({ maxDepth: 6 }), readTwin),
  target('signature', 15_000, mutatedText(service.updateManifestSignature), async text => {
    const signed = await orRefused(() => verifySignature(text, terms.ring, new Checks()), AgentError)
    if (signed) assert.equal(text, service.updateManifestSignature)
  }),
  target('manifest, changed text', 10_000, mutatedText(service.updateManifest), async text => {
    readTwin({ ...desired, deviceUpdate: { service: { ...service, updateManifest: text } } })
    checkManifest(await parsed(text))
  }),
  target('manifest, changed values, rightly signed', 12_000, mutatedJson(MANIFEST), async json =>
    checkManifest(await parsed(JSON.stringify(json))),
  ),
  target(
    'detached manifest',
    4_000,
    mutatedText(JSON.stringify({ updateManifest: service.updateManifest })),
    async text => checkManifest(await orRefused(() => readDetached(detachedOf(text), mini), AgentError)),
  ),
  target('root key package, changed text', 8_000, mutatedText(packageText), async text => {
    const found = await orRefused(() => readRootKeyPackage(Buffer.from(text), anchors), AgentError)
    if (found) assert.deepEqual(JSON.parse(found.text), JSON.parse(packageText).protected)
  }),
  target('root key package, changed values', 4_000, mutatedJson(JSON.parse(packageText)), async json => {
    const found = await orRefused(() => readRootKeyPackage(Buffer.from(JSON.stringify(json)), anchors), AgentError)
    if (found) assert.deepEqual(JSON.parse(found.text), JSON.parse(packageText).protected)
  }),
  target('root key package, any bytes', 2_000, fc.uint8Array({ maxLength: 2000 }), async bytes =>
    assert.equal(await orRefused(() => readRootKeyPackage(Buffer.from(bytes), anchors), AgentError), undefined),
  ),
  target('verify', 4_000, fc.oneof(mutatedJson(desired), mutatedJson(service)), checkExplanation),
  target(
    'payload of firmwareUpdate',
    4_000,
    fc.oneof(mutatedJson(call), mutatedText(JSON.stringify(call))),
    async payload => {
      const update = await orRefused(() => readFirmwareCall(payload, policy), CallRefused)
      if (update) assert.match(update.url, /^https:\/\/contoso\.example\//)
    },
  ),
  target(
    'configuration',
    3_000,
    fc.oneof(
      mutatedJson(config).map(json => JSON.stringify(json) ?? ''),
      mutatedText(JSON.stringify(config)),
    ),
    text => withFile(text, async file => void (await orRefused(() => readConfig(file, {}), ConfigError))),
  ),
  target(
    'cpio',
    3_000,
    mutatedText(
      cpio([
        ['sw-description', 'software = {}'],
        ['rootfs.ext4', 'x'.repeat(300)],
      ]),
    ),
    text => readArchive(Buffer.from(text, 'latin1')),
  ),
]

/** Without any change, everything is accepted: the targets do reach what they aim at. */
export function assertGood(): void {
  const { order } = judge(readDesired(desired).service!, terms)
  assert.equal(order?.kind, 'deploy')
  assert.equal(readRootKeyPackage(good.rootKeyPackage, anchors).version, 1)
  assert.ok(createHash('sha256').update(service.updateManifest).digest().length === 32)
}
