import { readFile } from 'node:fs/promises'
import { buffer as readAll } from 'node:stream/consumers'
import { localPorts, lookOf, termsOf } from '../../compose.ts'
import { keyStoreFile, readConfig } from '../../config/config.ts'
import { messageOf, UsageError } from '../../domain/errors.ts'
import { isObject } from '../../domain/members.ts'
import { jsonText } from '../../domain/terminal.ts'
import { decodeText, parseJsonText } from '../../domain/text.ts'
import { IMAGES_ONLY } from '../../handlers/capabilities.ts'
import type { Log } from '../../ports/log.ts'
import { anchorsOf } from '../../trust/anchors.ts'
import { rsaKey } from '../../trust/keys.ts'
import type { RootKey } from '../../trust/root-keys.ts'
import { knownFrom } from '../../workflow/observe.ts'
import { type Circumstances, explain, explainPackage } from './explain.ts'
import { describeExplanation, describePackage } from './text.ts'

export interface VerifyOptions {
  readonly config?: string
  readonly rootKeyPackage?: string
  readonly trustTestKeys?: string
  readonly deviceProperties?: string
  readonly detachedManifest?: readonly string[]
  readonly json: boolean
}

/** Exit codes: whether the agent would act. Unusable input gives 64, like any usage error. */
const EXIT = { act: 0, refuse: 2 } as const

/** `pi-adu verify`: only reads files; fetches nothing and writes only its answer. Returns the exit code. */
export async function verify(file: string | undefined, options: VerifyOptions, log: Log): Promise<number> {
  const { circumstances, stored } = await circumstancesOf(options, log)
  if (file === undefined) {
    if (!options.rootKeyPackage || !circumstances.rootKeyPackage) {
      throw new UsageError('nothing to verify: name a FILE, or a --root-key-package')
    }
    const explanation = explainPackage(circumstances.rootKeyPackage, circumstances.anchors)
    answer(options.json ? jsonText(explanation) : describePackage(explanation))
    return explanation.verdict === 'accept' ? EXIT.act : EXIT.refuse
  }
  const document = parse(file === '-' ? await readAll(process.stdin) : await bytesOf(file), file)
  const rootKeyPackage = circumstances.rootKeyPackage ?? stored
  const explanation = await explain(document, { ...circumstances, rootKeyPackage })
  answer(options.json ? jsonText(explanation) : describeExplanation(explanation))
  return explanation.verdict === 'accept' ? EXIT.act : EXIT.refuse
}

/** With `--config`, the circumstances of that device; otherwise the built-in keys and the other options. */
async function circumstancesOf(
  options: VerifyOptions,
  log: Log,
): Promise<{ circumstances: Circumstances; stored: Buffer | undefined }> {
  const testKeys = options.trustTestKeys === undefined ? [] : await testKeysOf(options.trustTestKeys)
  const given = {
    rootKeyPackage: await optional(options.rootKeyPackage),
    detached: await Promise.all((options.detachedManifest ?? []).map(bytesOf)),
  }
  const properties = options.deviceProperties === undefined ? undefined : propertiesOf(options.deviceProperties)
  if (options.config === undefined) {
    const circumstances = {
      anchors: anchorsOf(testKeys),
      compatibility: 'enforce',
      properties,
      device: undefined,
    } as const
    return { circumstances: { ...circumstances, ...given }, stored: undefined }
  }
  const config = await readConfig(options.config)
  const { trust } = config.piAdu
  const { host, journal } = localPorts(config, log)
  const terms = termsOf(config)
  const known = knownFrom(await journal.read())
  const circumstances = {
    anchors: anchorsOf([...trust.rootKeys, ...testKeys]),
    compatibility: terms.compatibility,
    properties: properties ?? terms.properties,
    hosts: terms.hosts,
    providers: terms.providers,
    images: { ...IMAGES_ONLY, images: config.hasSlots },
    look: lookOf(config),
    device: {
      downgrade: trust,
      ...known,
      version: await host.version(),
    },
    ...given,
  }
  return { circumstances, stored: await readFile(keyStoreFile(config)).catch(missing) }
}

async function testKeysOf(file: string): Promise<readonly RootKey[]> {
  const list = parse(await bytesOf(file), file)
  if (!Array.isArray(list)) throw new UsageError(`${file} is not a list of {kid, n, e}`)
  return list.map(key => {
    const { kid, n, e } = isObject(key) ? key : {}
    if (typeof kid !== 'string' || typeof n !== 'string' || typeof e !== 'string' || !rsaKey(n, e)) {
      throw new UsageError(`${file}: every entry needs kid, n and e of an RSA key of 2048 bits or more`)
    }
    return { kid, n, e }
  })
}

function propertiesOf(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(',').map(pair => /^([^=]+)=(.*)$/s.exec(pair.trim()))
  return Object.fromEntries(
    pairs.map(match => {
      if (!match) throw new UsageError('--device-properties must be like manufacturer=contoso,model=toaster')
      return [match[1] ?? '', match[2] ?? '']
    }),
  )
}

/** Undefined only if the file is missing: a device that cannot read its stored package must not act as if it had none. */
function missing(cause: NodeJS.ErrnoException): undefined {
  if (cause.code === 'ENOENT') return undefined
  throw new UsageError(`the stored root key package cannot be read: ${cause.message}`, { cause })
}

const optional = async (file: string | undefined): Promise<Buffer | undefined> =>
  file === undefined ? undefined : bytesOf(file)

async function bytesOf(file: string): Promise<Buffer> {
  return readFile(file).catch(cause => {
    throw new UsageError(`${file} cannot be read: ${messageOf(cause)}`, { cause })
  })
}

/** Like the agent's SDK: the last of duplicate members counts. Signed content is read more strictly. */
function parse(bytes: Buffer, file: string): unknown {
  try {
    return parseJsonText(decodeText(bytes))
  } catch (cause) {
    throw new UsageError(`${file === '-' ? 'stdin' : file} ${messageOf(cause)}`, { cause })
  }
}

const answer = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
