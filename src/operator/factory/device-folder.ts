import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { jsonText } from '../../domain/terminal.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'

/**
 * A folder per device with what goes on its card: `du-config.json` and the credential. It appears complete or not at all, and
 * others cannot read it.
 */

export interface Credential {
  /** base64. */
  readonly key?: string
  /** PEM: leaf, then the intermediate. */
  readonly chain?: string
  /** PEM; absent when the device made its own. */
  readonly privateKey?: string
}

const FILES = { key: 'dps.key', chain: 'device.pem', privateKey: 'device.key' } as const

/** Where the system puts these files (image/README.md). */
const DATA = '/data/adu'

/** What an earlier call left in the folder; undefined when there is none. Errors: Failure. */
export async function readCredential(folder: string): Promise<Credential | undefined> {
  const found = await Promise.all(
    Object.entries(FILES).map(async ([name, file]) => {
      const text = await readFile(join(folder, file), 'utf8').catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') return undefined
        throw new Failure(EXIT.usage, `cannot read ${join(folder, file)}: ${cause.message}`, { cause })
      })
      return [name, name === 'key' ? text?.trim() : text] as const
    }),
  )
  const credential = Object.fromEntries(found.filter(([, text]) => text !== undefined))
  return Object.keys(credential).length === 0 ? undefined : credential
}

export interface CardOptions {
  /** The owner's configuration, without an identity. */
  readonly config: Readonly<Record<string, unknown>>
  readonly idScope: string
  readonly host?: string | undefined
}

const CONFIG = 'du-config.json'
/** No registration id ends like this, so what is being written is no other device's folder. */
const WORK = '.NEW~'

/** Errors: Failure. */
export async function writeFolder(
  folder: string,
  registrationId: string,
  credential: Credential,
  options: CardOptions,
): Promise<void> {
  const work = folder + WORK
  try {
    await rm(work, { recursive: true, force: true })
    await mkdir(work, { recursive: true, mode: 0o700 })
    const save = (name: string, text: string) => writeFile(join(work, name), text, { mode: 0o600, flush: true })
    for (const [name, file] of Object.entries(FILES)) {
      const text = credential[name as keyof typeof FILES]
      if (text !== undefined) await save(file, text.endsWith('\n') ? text : `${text}\n`)
    }
    await save(CONFIG, textFor(registrationId, credential, options))
    await rename(work, folder)
  } catch (cause) {
    throw new Failure(EXIT.unavailable, `cannot write ${folder}: ${messageOf(cause)}`, { cause })
  }
}

/** Adds the configuration to a folder with a credential alone, as derive-key writes it. Gives its file if it is new. Errors: Failure. */
export async function addConfig(
  folder: string,
  registrationId: string,
  credential: Credential,
  options: CardOptions,
): Promise<string | undefined> {
  const file = join(folder, CONFIG)
  if ((await readdir(folder)).includes(CONFIG)) return undefined
  try {
    await writeFile(file + WORK, textFor(registrationId, credential, options), { mode: 0o600, flush: true })
    await rename(file + WORK, file)
    return file
  } catch (cause) {
    throw new Failure(EXIT.unavailable, `cannot write ${file}: ${messageOf(cause)}`, { cause })
  }
}

const textFor = (registrationId: string, credential: Credential, options: CardOptions): string =>
  `${jsonText(configFor(registrationId, credential, options), 2)}\n`

/** The owner's configuration with `piAdu.provisioning` for this device in place of a connection. */
function configFor(registrationId: string, credential: Credential, { config, idScope, host }: CardOptions): object {
  const agents = Array.isArray(config.agents)
    ? config.agents.map((agent: Record<string, unknown>) => ({ ...agent, connectionSource: undefined }))
    : config.agents
  const { provisioning, ...own } = (config.piAdu ?? {}) as { provisioning?: { keyFile?: unknown } }
  const files =
    credential.key !== undefined
      ? { symmetricKeyFile: `${DATA}/${FILES.key}` }
      : {
          certFile: `${DATA}/${FILES.chain}`,
          // The owner's configuration says where a device keeps the key that it made.
          keyFile: (credential.privateKey === undefined && provisioning?.keyFile) || `${DATA}/${FILES.privateKey}`,
        }
  const given = { ...provisioning, idScope, registrationId, ...(host !== undefined && { host }), ...files }
  return { ...config, agents, piAdu: { ...own, provisioning: given } }
}
