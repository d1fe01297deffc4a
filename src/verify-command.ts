import { readFile } from 'node:fs/promises'
import { text as readAll } from 'node:stream/consumers'
import { anchorsOf, localPorts, termsOf } from './compose.ts'
import { keyStoreFile, readConfig } from './config.ts'
import { messageOf, UsageError } from './domain/errors.ts'
import type { Log } from './ports.ts'
import { rsaKey } from './trust/keys.ts'
import type { RootKey } from './trust/root-keys.ts'
import { isObject } from './trust/service.ts'
import { type Circumstances, explain, explainPackage } from './verify.ts'
import { describeExplanation, describePackage } from './verify-text.ts'
import { lowestVersion } from './workflow/downgrade.ts'

export interface VerifyOptions {
  readonly config?: string
  readonly rootKeyPackage?: string
  readonly trustTestKeys?: string
  readonly deviceProperties?: string
  readonly detachedManifest?: string
  readonly json: boolean
}

/** For a script: it would act, it would not. Unusable input is 64, like every wrong use. */
const EXIT = { act: 0, refuse: 2 } as const

/** `pi-adu verify`: looks at files only, fetches nothing, writes nothing but its answer. Gives the exit code. */
export async function verify(file: string | undefined, options: VerifyOptions, log: Log): Promise<number> {
  const { circumstances, stored } = await circumstancesOf(options, log)
  if (file === undefined) {
    if (!options.rootKeyPackage || !circumstances.rootKeyPackage) {
      throw new UsageError('nothing to verify: name a FILE, or a --root-key-package')
    }
    const explanation = explainPackage(circumstances.rootKeyPackage, circumstances.anchors)
    answer(options.json ? JSON.stringify(explanation) : describePackage(explanation))
    return explanation.verdict === 'accept' ? EXIT.act : EXIT.refuse
  }
  const document = parse(file === '-' ? await readAll(process.stdin) : (await bytesOf(file)).toString(), file)
  const rootKeyPackage = circumstances.rootKeyPackage ?? stored
  const explanation = await explain(document, { ...circumstances, rootKeyPackage })
  answer(options.json ? JSON.stringify(explanation) : describeExplanation(explanation))
  return explanation.verdict === 'accept' ? EXIT.act : EXIT.refuse
}

/** Of a device, with `--config`; else of nowhere in particular: built-in keys, and what the other options say. */
async function circumstancesOf(
  options: VerifyOptions,
  log: Log,
): Promise<{ circumstances: Circumstances; stored: Buffer | undefined }> {
  const testKeys = options.trustTestKeys === undefined ? [] : await testKeysOf(options.trustTestKeys)
  const given = {
    rootKeyPackage: await optional(options.rootKeyPackage),
    detached: await optional(options.detachedManifest),
  }
  const properties = options.deviceProperties === undefined ? undefined : propertiesOf(options.deviceProperties)
  if (options.config === undefined) {
    const circumstances = {
      anchors: anchorsOf(testKeys),
      compatibility: 'enforce',
      properties,
      lowest: undefined,
    } as const
    return { circumstances: { ...circumstances, ...given }, stored: undefined }
  }
  const config = await readConfig(options.config)
  const { trust } = config.piAdu
  const { host, journal } = localPorts(config, log)
  const terms = termsOf(config)
  const circumstances = {
    anchors: anchorsOf([...trust.rootKeys, ...testKeys]),
    compatibility: terms.compatibility,
    properties: properties ?? terms.properties,
    lowest: lowestVersion(trust, await journal.read(), await host.version()),
    ...given,
  }
  return { circumstances, stored: await readFile(keyStoreFile(config)).catch(() => undefined) }
}

async function testKeysOf(file: string): Promise<readonly RootKey[]> {
  const list = parse((await bytesOf(file)).toString(), file)
  if (!Array.isArray(list)) throw new UsageError(`${file} is no list of {kid, n, e}`)
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

const optional = async (file: string | undefined): Promise<Buffer | undefined> =>
  file === undefined ? undefined : bytesOf(file)

async function bytesOf(file: string): Promise<Buffer> {
  return readFile(file).catch(cause => {
    throw new UsageError(`${file} cannot be read: ${messageOf(cause)}`, { cause })
  })
}

/** As the agent's SDK does it: of doubled members the last one counts. What is signed is read more strictly. */
function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new UsageError(`${file === '-' ? 'stdin' : file} is not JSON`, { cause })
  }
}

const answer = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
