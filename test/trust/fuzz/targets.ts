import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { readAnswer } from '../../../src/adapters/dps/answer.ts'
import { choicesOf } from '../../../src/bundle/choices.ts'
import { inspect } from '../../../src/bundle/policy.ts'
import { DescriptionError } from '../../../src/bundle/setting.ts'
import { readDescription, softwareFor } from '../../../src/bundle/sw-description.ts'
import { writeSwDescription } from '../../../src/bundle/write-description.ts'
import { explain } from '../../../src/cli/verify/explain.ts'
import { readConfig } from '../../../src/config/config.ts'
import type { FileEntity, ManifestStep, UpdateManifest, Verified } from '../../../src/domain/deployment.ts'
import { AgentError, ConfigError, UsageError } from '../../../src/domain/errors.ts'
import { systemUpdateOf } from '../../../src/domain/system-update.ts'
import { readAptManifest } from '../../../src/handlers/apt/apt-manifest.ts'
import { IMAGES_ONLY } from '../../../src/handlers/capabilities.ts'
import { readComponents } from '../../../src/handlers/components/component-list.ts'
import { flattened } from '../../../src/handlers/components/flattened.ts'
import { readSteps } from '../../../src/handlers/read-steps.ts'
import { readCpio } from '../../../src/operator/bundle/cpio.ts'
import { Failure } from '../../../src/operator/failure.ts'
import { readOrder } from '../../../src/sources/contract-2021/read.ts'
import { installCommand } from '../../../src/steps/apt/commands.ts'
import { Checks } from '../../../src/trust/checks.ts'
import { childFilesOf, contentOf, readDetached, withChildren } from '../../../src/trust/detached.ts'
import { CallRefused, readFirmwareCall } from '../../../src/trust/firmware-call.ts'
import { JsonError, readJson } from '../../../src/trust/json.ts'
import { type Judged, judge } from '../../../src/trust/judge.ts'
import { verifySignature } from '../../../src/trust/jws.ts'
import { isMini, type MiniManifest, parseManifest, type WrittenManifest } from '../../../src/trust/manifest.ts'
import { readRootKeyPackage } from '../../../src/trust/root-key-package.ts'
import { ringOf } from '../../../src/trust/root-keys.ts'
import { packageUrlOf, readDesired } from '../../../src/trust/service.ts'
import { CHILD_MANIFEST, childOf, parentOf, treeOf } from '../../bench/authoring/child.ts'
import { publicNumbers } from '../../bench/authoring/keys.ts'
import { cook, MANIFEST } from '../../bench/authoring/recipe.ts'
import { newKeys } from '../flaws/flaw.ts'
import { cpio } from './cpio.ts'
import { mutatedJson, mutatedText } from './mutate.ts'
import { fetchUrl, urls } from './urls.ts'
import { documents, put } from './whole-agent.ts'

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
  longest = LONGEST,
): Target {
  const took = async (input: T): Promise<number> => {
    const begun = performance.now()
    await check(input)
    return performance.now() - begun
  }
  const timed = async (input: T): Promise<void> => {
    // A busy machine may hold up one run. An input that takes long does so each time.
    const times = [await took(input)]
    while (times.length < 3 && times.every(time => time >= longest)) times.push(await took(input))
    assert.ok(
      times.some(time => time < longest),
      `took ${times.map(Math.round).join(', ')} ms`,
    )
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

const [FILE_ID] = Object.keys(MANIFEST.files)
const [STEP] = MANIFEST.instructions.steps
const SEVERAL_STEPS = {
  ...MANIFEST,
  instructions: {
    steps: [
      STEP,
      { ...STEP, handler: 'microsoft/swupdate:1', handlerProperties: { installedCriteria: '9' } },
      { type: 'reference', detachedManifestFileId: FILE_ID },
    ],
  },
}

const flat = cook(keys, {
  manifest: {
    ...{ manifestVersion: '2.0', updateId: MANIFEST.updateId, updateType: 'microsoft/swupdate:1' },
    ...{ installedCriteria: '1.0.1', files: MANIFEST.files },
  },
}).service as { updateManifest: string; updateManifestSignature: string; fileUrls: unknown }
const ordered = { $version: 4, azureDeviceUpdateAgent: { __t: 'c', service: { action: 0, ...flat } } }

/** The same on the contract of 2021. */
function readOrdered(document: unknown): void {
  const { service: order } = readOrder(document)
  if (!order) return
  const { judged } = judge(order, terms)
  if (judged?.kind !== 'deploy') return
  assert.equal(order.updateManifest, flat.updateManifest)
  assert.equal(order.updateManifestSignature, flat.updateManifestSignature)
  const deployment = readSteps(judged, undefined, new Checks())
  if (deployment.kind === 'deploy') assert.ok(deployment.allowed && deployment.plans.length === 1)
}

/** The agent's way with a desired document. A deployment may only come of it when what was signed is untouched. */
function readTwin(document: unknown): void {
  const reading = readDesired(document)
  if (!reading.service) return
  try {
    packageUrlOf(reading.service)
  } catch (error) {
    assert.ok(error instanceof AgentError)
  }
  const { judged } = judge(reading.service, terms)
  if (judged?.kind !== 'deploy') return
  assert.equal(reading.service.updateManifest, service.updateManifest)
  assert.equal(reading.service.updateManifestSignature, service.updateManifestSignature)
  assert.match(judged.workflow.id, /^[\w.-]{1,128}$/)
  checkSteps(judged)
}

/** Whatever a manifest says, what is made of it is safe to use. */
function checkManifest(manifest: Verified<WrittenManifest> | Verified<MiniManifest> | undefined): void {
  if (!manifest) return
  assert.match(manifest.manifestVersion, /^[1245](\.\d+)*$/)
  assert.match(manifest.updateId.version, /^\d+(\.\d+){1,3}$/)
  const filesOf = (step: WrittenManifest['steps'][number]) => (step.type === 'inline' ? step.files : [step.file])
  const files = isMini(manifest) ? [manifest.detached] : manifest.steps.flatMap(filesOf)
  for (const { fileName, sizeInBytes, sha256 } of files) {
    assert.ok(!/[/\\\0\n]/.test(fileName) && fileName !== '' && !/^(-|\.{1,2}$)/.test(fileName))
    assert.ok(Number.isSafeInteger(sizeInBytes) && sizeInBytes > 0)
    assert.equal(sha256.length, 32)
  }
  if (isMini(manifest)) return
  if (manifest.steps.some(({ type }) => type === 'reference')) return
  checkTree(withChildren(manifest, []))
}

function checkTree(manifest: Verified<UpdateManifest>): void {
  const filesOf = (step: ManifestStep): readonly FileEntity[] =>
    step.type === 'inline' ? step.files : [step.file, ...step.child.steps.flatMap(filesOf)]
  const files = manifest.steps.flatMap(filesOf)
  checkSteps({
    kind: 'deploy',
    workflow: { action: 3, id: 'W' },
    fingerprint: 'F',
    manifest,
    signed: { manifest: '', signature: '', detached: [] },
    fileUrls: Object.fromEntries(files.map(({ fileId }) => [fileId, 'https://content.test/a.swu'])),
  })
}

const LIST = {
  components: [
    { id: 'left', name: 'left motor', group: 'motors', model: 'M1', properties: { path: '/dev/ttyACM0', speed: 9600 } },
    { id: 'right', group: 'motors', manufacturer: 'contoso', version: '1.0' },
  ],
}
const CHILD_OF_SCRIPTS = {
  ...CHILD_MANIFEST,
  compatibility: [{ name: 'left motor' }],
  instructions: {
    steps: [
      {
        ...{ handler: 'microsoft/script:1', files: [FILE_ID] },
        handlerProperties: { scriptFileName: 'toaster.swu', installedCriteria: '1', arguments: '--component-id-val' },
      },
    ],
  },
}
const COMPONENTS = readComponents(JSON.stringify(LIST))

/** Whatever the owner's program prints: each component has an id of its own, and texts that are one line. */
function checkList(text: string): void {
  const found = readComponents(text)
  assert.equal(new Set(found.map(({ id }) => id)).size, found.length)
  for (const { id, name, properties } of found) {
    for (const each of [id, name, ...Object.values(properties)]) assert.doesNotMatch(each, /\p{Cc}/u)
  }
}

/** Whatever a child asks for: scripts only for components that it describes, and images for none. */
function checkComponents(manifest: Verified<UpdateManifest>, fileUrls: object): void {
  const device = { ...IMAGES_ONLY, scripts: true, components: COMPONENTS, properties }
  const signed = { manifest: '', signature: '', detached: [] }
  const judged = {
    kind: 'deploy',
    workflow: { action: 3, id: 'W' },
    fingerprint: 'F',
    manifest,
    signed,
    fileUrls,
  } as const
  const deployment = readSteps(judged, undefined, new Checks(), device)
  if (deployment.kind !== 'deploy') return
  for (const { path, component, plan } of deployment.plans) {
    assert.ok(path.length === (plan.kind === 'nothing' ? 1 : 2))
    assert.ok(!component || (plan.kind === 'work' && COMPONENTS.includes(component)))
  }
}

/** Of a parent that says the right hash of whatever child. */
async function checkChild(text: string): Promise<void> {
  const { content, entity } = childOf(CHILD_MANIFEST, text)
  const parent = await parsed(
    JSON.stringify(parentOf({ content, entity: { ...entity, sizeInBytes: content.length || 1 } })),
  )
  assert.ok(parent && !isMini(parent))
  if (!contentOf(childFilesOf(parent)[0]!, [content])) return assert.equal(text, '')
  const tree = await orRefused(() => withChildren(parent, [content]), AgentError)
  if (!tree) return
  const [step] = tree.steps
  assert.ok(step?.type === 'reference' && step.child.steps.every(({ type }) => type === 'inline'))
  checkTree(tree)
  const files = step.child.steps.flatMap(each => each.files)
  checkComponents(tree, Object.fromEntries(files.map(({ fileId }) => [fileId, 'https://content.test/a.sh'])))
}

/** Whatever steps a manifest has, they are refused, or there is something to install and somewhere to fetch it from. */
function checkSteps(judged: Judged): void {
  const deployment = readSteps(judged, undefined, new Checks())
  if (deployment.kind === 'refuse') return
  assert.ok(deployment.kind === 'deploy')
  const { installedCriteria, bundle, url } = systemUpdateOf(deployment)
  assert.ok(installedCriteria !== '' && bundle.sizeInBytes > 0)
  assert.match(url ?? '', /^https?:/)
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
  const circumstances = { ...terms, anchors, rootKeyPackage: undefined, detached: [], device: undefined }
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

const image = { fileName: 'x', sha256: 'a'.repeat(64), device: 'pi-adu/a', compressed: 'zstd' } as const
const description = writeSwDescription({ version: '1', hardware: ['1.0'], slots: { a: [image], b: [image] } })
const device = { slot: 'a', device: '/dev/a', selection: 'stable,a', board: 'pi', allow: new Set([]) } as const

async function readList(bytes: Buffer): Promise<void> {
  const lines = bytes.filter(byte => byte === 10).length + 1
  try {
    const read = readDescription(bytes)
    for (const choice of choicesOf(read)) await orRefused(() => softwareFor(read, choice), DescriptionError)
  } catch (error) {
    assert.ok(error instanceof DescriptionError, String(error))
    assert.ok(error.line >= 1 && error.line <= lines, error.message)
  }
  const contents = await orRefused(() => inspect(bytes, device), AgentError)
  if (contents) assert.ok(contents.needed.size === 1 && contents.needed.has(contents.image))
}

const assigned = {
  operationId: '5.1.2',
  status: 'assigned',
  registrationState: {
    registrationId: 'pi-1',
    assignedHub: 'hub.azure-devices.net',
    deviceId: 'pi-1',
    substatus: 'initialAssignment',
    connectionProfile: 'classic',
    issuedCertificateChain: ['AAAA'],
  },
  errorCode: 401002,
  message: 'no',
  trackingId: 'x',
}

/** Whatever the provisioning service says: what is used is safe in host names and topics, what is said is one line. */
function readProvisioning(payload: Buffer): void {
  for (const status of [200, 202, 401, 500]) {
    const answer = readAnswer({ status, retryAfter: String(payload[0]), payload })
    if (answer.is === 'assigned') {
      assert.match(answer.to.hub, /^[A-Za-z0-9.-]+(:\d{1,5})?$/)
      assert.match(answer.to.deviceId, /^[^/\s]{1,128}$/)
    } else if (answer.is === 'assigning') assert.ok(answer.wait >= 1000 && answer.wait <= 3_600_000)
    else assert.doesNotMatch(answer.why, /\p{Cc}/u)
  }
}

const APT_MANIFEST = {
  ...{ name: 'edge', version: '1.0', agentRestartRequired: false },
  packages: [{ name: 'tool', version: '1:1.0~rc1-1' }, { name: 'libc6:arm64' }, { name: 'foo-' }],
}

/** What is accepted gives apt words that are neither options nor patterns, behind the end of the options. */
async function checkAptManifest(text: string): Promise<void> {
  const manifest = await orRefused(() => readAptManifest(Buffer.from(text)), AgentError)
  if (!manifest) return
  const words = installCommand(manifest, { lockSeconds: 1, allowDowngrade: false, status: true })
  const packages = words.slice(words.indexOf('--') + 1)
  assert.equal(packages.length, manifest.packages.length)
  for (const word of packages) assert.match(word, /^[a-z0-9][a-z0-9+.:-]+(=[0-9A-Za-z.+:~-]+)?$/)
}

export const TARGETS: readonly Target[] = [
  target(
    'answer of the provisioning service',
    4_000,
    fc.oneof(
      mutatedJson(assigned).map(json => JSON.stringify(json) ?? ''),
      mutatedText(JSON.stringify(assigned)),
    ),
    text => readProvisioning(Buffer.from(text)),
  ),
  target('JSON text', 20_000, fc.oneof(mutatedText(service.updateManifest), fc.json(), fc.string()), async text => {
    const ours = await orRefused(() => ({ value: readJson(text) }), JsonError)
    if (ours) assert.deepEqual(ours.value, JSON.parse(text))
  }),
  target('twin, changed', 15_000, mutatedJson(desired), readTwin),
  target('twin of 2021, changed', 5_000, mutatedJson(ordered), readOrdered),
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
  target('manifest of several steps, changed values, rightly signed', 6_000, mutatedJson(SEVERAL_STEPS), async json =>
    checkManifest(await parsed(JSON.stringify(json))),
  ),
  target(
    'detached manifest',
    4_000,
    mutatedText(JSON.stringify({ updateManifest: service.updateManifest })),
    async text => checkManifest(await orRefused(() => readDetached(detachedOf(text), mini), AgentError)),
  ),
  target(
    'child manifest',
    6_000,
    fc.oneof(
      mutatedText(childOf().content.toString()),
      mutatedJson(CHILD_MANIFEST).map(json => JSON.stringify({ updateManifest: JSON.stringify(json) ?? '' })),
      mutatedJson(CHILD_OF_SCRIPTS).map(json => JSON.stringify({ updateManifest: JSON.stringify(json) ?? '' })),
    ),
    checkChild,
  ),
  target(
    'list of components',
    6_000,
    fc.oneof(
      mutatedText(JSON.stringify(LIST)),
      mutatedJson(LIST).map(json => JSON.stringify(json) ?? ''),
      fc.string({ maxLength: 500 }),
    ),
    async text => void (await orRefused(() => checkList(text), AgentError)),
  ),
  target(
    'APT manifest',
    6_000,
    fc.oneof(
      mutatedText(JSON.stringify(APT_MANIFEST)),
      mutatedJson(APT_MANIFEST).map(json => JSON.stringify(json) ?? ''),
    ),
    checkAptManifest,
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
  target('sw-description', 6_000, mutatedText(description), text => readList(Buffer.from(text))),
  target('URLs and redirects, fetched', 3_000, urls, fetchUrl),
  target('twins, before a whole agent', 2_000, documents, put, 15_000),
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
  const { judged } = judge(readDesired(desired).service!, terms)
  assert.ok(judged)
  assert.equal(readSteps(judged, undefined, new Checks()).kind, 'deploy')
  assert.equal(judge(readOrder(ordered).service!, terms).judged?.kind, 'deploy')
  assert.equal(readRootKeyPackage(good.rootKeyPackage, anchors).version, 1)
  const child = childOf()
  const parent = parseManifest(JSON.stringify(parentOf(child)), new Checks())
  const device = { ...IMAGES_ONLY, components: COMPONENTS }
  const scripts = childOf(CHILD_OF_SCRIPTS)
  assert.equal(flattened(treeOf(parentOf(scripts), [scripts]).steps, device).length, 1)
  assert.equal(readAptManifest(Buffer.from(JSON.stringify(APT_MANIFEST))).packages.length, 3)
  assert.ok(!isMini(parent) && withChildren(parent, [child.content]).steps.length === 1)
  assert.ok(createHash('sha256').update(service.updateManifest).digest().length === 32)
}
