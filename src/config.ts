import { createPublicKey } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { ConfigError, messageOf } from './domain/errors.ts'

const text = v.pipe(v.string('must be a text'), v.nonEmpty('must not be empty'))
const path = v.pipe(text, v.startsWith('/', 'must be an absolute path'))
const number = (least: number, most: number) => {
  const range = `must be a number from ${least} to ${most}`
  return v.pipe(v.number(range), v.minValue(least, range), v.maxValue(most, range))
}
const whole = (least: number, most: number) => {
  const range = `must be a whole number from ${least} to ${most}`
  return v.pipe(v.number(range), v.integer(range), v.minValue(least, range), v.maxValue(most, range))
}
const seconds = number(0.01, 86_400)
/** The image's trial guard gives a trial 20 minutes from power-on; the agent's own verdict has to come before. */
const trialSeconds = v.pipe(seconds, v.maxValue(1000, 'must be at most 1000: a trial is ended after 20 minutes'))
const flag = v.boolean('must be true or false')
const command = v.tupleWithRest([text], text, 'must be a list: the program, then its arguments')
/** A mistyped name would otherwise be a setting that silently does nothing. */
const section = <E extends v.ObjectEntries>(entries: E) => v.strictObject(entries)
const base64url = v.pipe(text, v.regex(/^[\w-]+$/, 'must be base64url'))

const HOST_FORMS = 'must be a host in small letters like "files.example.com" or "*.example.com", with a port or not'

const MIN_ROOT_KEY_BITS = 2048
const rootKey = v.pipe(
  section({ kid: text, n: base64url, e: base64url }),
  v.check(({ n, e }) => rsaBits(n, e) >= MIN_ROOT_KEY_BITS, `must be an RSA key of at least ${MIN_ROOT_KEY_BITS} bits`),
)

const slot = section({
  /** Block device or file that holds the slot. */
  device: path,
  /** What `swupdate -e` selects; default `stable,a` and `stable,b`. */
  selection: v.exactOptional(v.pipe(text, v.regex(/^[^,\s]+,[^,\s]+$/, 'must be like "stable,a"'))),
})

/** BCM numbers of the pins that the lights hang on. */
export const leds = section({
  green: v.exactOptional(whole(0, 53)),
  red: v.exactOptional(whole(0, 53)),
  activeLow: v.exactOptional(flag, false),
})

const piAdu = section({
  slots: v.exactOptional(
    section({ a: v.exactOptional(slot), b: v.exactOptional(slot), compareBeforeWrite: v.exactOptional(flag) }),
    {},
  ),
  versionFile: v.exactOptional(path, '/etc/adu-version'),
  kernelCommandLine: v.exactOptional(path, '/proc/cmdline'),
  bootState: v.exactOptional(
    section({ fwEnvConfig: v.exactOptional(path, '/etc/fw_env.config'), tries: v.exactOptional(whole(1, 9), 3) }),
    {},
  ),
  swupdate: v.exactOptional(
    section({
      certificate: v.exactOptional(path, '/etc/swupdate/certificate.pem'),
      hardware: v.exactOptional(v.pipe(text, v.regex(/^[^:\s]+:[^:\s]+$/, 'must be like "board:revision"'))),
    }),
    {},
  ),
  health: v.exactOptional(
    section({
      timeoutSeconds: v.exactOptional(trialSeconds, 600),
      retrySeconds: v.exactOptional(seconds, 10),
      failedUnits: v.exactOptional(flag, true),
      checksFolder: v.exactOptional(path, '/etc/pi-adu/health.d'),
      checkTimeoutSeconds: v.exactOptional(seconds, 60),
    }),
    {},
  ),
  hub: v.exactOptional(
    section({
      caFile: v.exactOptional(path),
      keepAliveSeconds: v.exactOptional(whole(5, 1200), 60),
      spreadSeconds: v.exactOptional(number(0, 86_400), 0),
    }),
    {},
  ),
  content: v.exactOptional(
    section({
      caFile: v.exactOptional(path),
      rangeBytes: v.exactOptional(whole(4096, 100_000_000)),
      stallSeconds: v.exactOptional(seconds, 60),
      maxBytesPerSecond: v.exactOptional(whole(1024, 1_000_000_000)),
    }),
    {},
  ),
  trust: v.exactOptional(
    section({
      rootKeys: v.exactOptional(v.array(rootKey, 'must be a list'), []),
      compatibility: v.exactOptional(v.picklist(['enforce', 'warn', 'off'], 'must be enforce, warn or off'), 'enforce'),
      allowDowngrade: v.exactOptional(flag, true),
      minimumVersion: v.exactOptional(v.pipe(text, v.regex(/^\d+(\.\d+){1,3}$/, 'must be 2 to 4 numbers with dots'))),
    }),
    {},
  ),
  host: v.exactOptional(
    section({
      rebootCommand: v.exactOptional(command, ['systemctl', 'reboot']),
      rebootPatienceSeconds: v.exactOptional(seconds, 300),
    }),
    {},
  ),
  firmwareUpdate: v.exactOptional(
    section({
      enabled: v.exactOptional(flag, false),
      allowedHosts: v.exactOptional(
        v.array(
          v.pipe(v.string('must be a text'), v.regex(/^(\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d+)?)$/, HOST_FORMS)),
          'must be a list',
        ),
        [],
      ),
      requireSha256: v.exactOptional(flag, true),
      progressPercent: v.exactOptional(whole(1, 100), 10),
      progressSeconds: v.exactOptional(seconds, 30),
      stageSeconds: v.exactOptional(number(0, 60), 1),
    }),
    {},
  ),
  reboot: v.exactOptional(section({ enabled: v.exactOptional(flag, false) }), {}),
  leds: v.exactOptional(leds, {}),
})

/** What is wrong with a device's connection string; undefined when nothing is. Never quotes it. */
function connectionFlaw(data: string): string | undefined {
  const fields = new Map(data.split(';').map(part => [part.split('=', 1)[0], part.slice(part.indexOf('=') + 1)]))
  const missing = ['HostName', 'DeviceId', 'SharedAccessKey'].find(name => !fields.get(name))
  if (missing) return `has no ${missing}: must be "HostName=…;DeviceId=…;SharedAccessKey=…", of the device`
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(fields.get('SharedAccessKey') ?? ''))
    return 'has a SharedAccessKey that is no base64'
  return undefined
}

const connectionData = v.pipe(
  text,
  v.rawCheck(({ dataset, addIssue }) => {
    const flaw = dataset.typed ? connectionFlaw(dataset.value) : undefined
    if (flaw) addIssue({ message: flaw })
  }),
)

const connectionSource = v.variant(
  'connectionType',
  [v.looseObject({ connectionType: v.literal('string'), connectionData })],
  'must be "string": the only connection type that this agent has so far',
)

/** The reference agent's file (protocol, chapter 7.1), plus `piAdu`. Unknown keys of the reference part are left alone. */
const schema = v.looseObject({
  schemaVersion: text,
  manufacturer: text,
  model: text,
  iotHubProtocol: v.exactOptional(v.picklist(['mqtt'], 'must be "mqtt"'), 'mqtt'),
  compatPropertyNames: v.exactOptional(text, 'manufacturer,model'),
  downloadTimeoutInMinutes: v.exactOptional(number(0, 1_000_000), 0),
  dataFolder: v.exactOptional(path, '/var/lib/adu'),
  agents: v.pipe(
    v.array(
      v.looseObject({
        name: text,
        manufacturer: text,
        model: text,
        connectionSource,
        additionalDeviceProperties: v.exactOptional(v.record(v.string(), v.string('must be a text')), {}),
      }),
      'must be a list of agents',
    ),
    v.minLength(1, 'must have at least one entry'),
  ),
  piAdu: v.exactOptional(piAdu, {}),
})

export type Config = v.InferOutput<typeof schema> & {
  /** PEM texts of `hub.caFile` and `content.caFile`. */
  readonly hubCa: string | undefined
  readonly contentCa: string | undefined
  /** From the environment, as curl and others read it. */
  readonly proxies: Proxies
}

export interface Proxies {
  readonly httpProxy: string | undefined
  readonly httpsProxy: string | undefined
  readonly noProxy: readonly string[]
}

/** Minutes when the file says 0 (protocol, chapter 3.9). */
export const DEFAULT_DOWNLOAD_MINUTES = 480

/**
 * Reads and checks configuration and environment once. Errors: ConfigError that names the field and what is expected.
 */
export async function readConfig(file: string, environment: NodeJS.ProcessEnv = process.env): Promise<Config> {
  const json = await load(file)
  const result = v.safeParse(schema, json, { abortPipeEarly: true })
  if (!result.success) {
    const lines = result.issues.map(issue => `${v.getDotPath(issue) ?? 'the file'}: ${complaint(issue)}`)
    throw new ConfigError(`${file}: ${lines.join('; ')}`)
  }
  const config = result.output
  const { hub, content } = config.piAdu
  return {
    ...config,
    hubCa: await pem('piAdu.hub.caFile', hub.caFile),
    contentCa: await pem('piAdu.content.caFile', content.caFile),
    proxies: proxies(environment),
  }
}

export const journalFile = (config: Config): string => join(config.dataFolder, 'journal.json')

export const keyStoreFile = (config: Config): string => join(config.dataFolder, 'rootkeystore/rootkeys.json')

async function load(file: string): Promise<unknown> {
  try {
    const { mode } = await stat(file)
    if ((mode & 0o007) !== 0) {
      throw new ConfigError(`${file} holds the device's key and may be read by everybody: chmod 600 it`)
    }
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    if (error instanceof ConfigError) throw error
    // The parser quotes the text around the mistake, which may be the key.
    if (error instanceof SyntaxError) throw new ConfigError(`${file} is not valid JSON`, { cause: error })
    throw unreadable(file, error)
  }
}

/** What a person has to mend. Anything else, like a card that fails to read, may pass: the agent is started again. */
const MISTAKES = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'EACCES', 'EPERM', 'ELOOP', 'ENAMETOOLONG'])

function unreadable(what: string, cause: unknown): Error {
  const text = `${what} cannot be read: ${messageOf(cause)}`
  const mistake = MISTAKES.has((cause as NodeJS.ErrnoException).code ?? '')
  return mistake ? new ConfigError(text, { cause }) : new Error(text, { cause })
}

async function pem(field: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  const content = await readFile(file, 'utf8').catch(cause => {
    throw unreadable(`${field}:`, cause)
  })
  if (!content.includes('-----BEGIN CERTIFICATE-----'))
    throw new ConfigError(`${field}: ${file} has no PEM certificate`)
  return content
}

/** `HTTP_PROXY` in capitals is left alone: where programs are started by a web server, anybody can set it. */
function proxies(environment: NodeJS.ProcessEnv): Proxies {
  const proxy = (...names: string[]): string | undefined => {
    const name = names.find(each => environment[each])
    if (name === undefined) return undefined
    const value = environment[name] as string
    const url = /^\w+:\/\//.test(value) ? value : `http://${value}`
    if (!URL.canParse(url) || new URL(url).protocol !== 'http:') {
      throw new ConfigError(`the environment variable ${name} must be like http://host:port`)
    }
    return url
  }
  const exceptions = environment.no_proxy || environment.NO_PROXY || ''
  return {
    httpProxy: proxy('http_proxy'),
    httpsProxy: proxy('https_proxy', 'HTTPS_PROXY'),
    noProxy: exceptions.split(/[\s,]+/).filter(Boolean),
  }
}

/** The library's own words quote what it has read, which may be the key. */
function complaint({ received, message, expected }: v.BaseIssue<unknown>): string {
  if (received === 'undefined') return 'is missing'
  if (message.startsWith('Invalid key')) return 'is not a setting of this agent'
  if (!message.startsWith('Invalid')) return message
  return expected === 'Object'
    ? 'must be a section: { … }'
    : `must be ${expected === 'Array' ? 'a list' : 'something else'}`
}

/** 0 when it is no key. */
function rsaBits(n: string, e: string): number {
  try {
    return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' }).asymmetricKeyDetails?.modulusLength ?? 0
  } catch {
    return 0
  }
}
