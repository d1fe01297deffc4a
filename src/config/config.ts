import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import * as v from 'valibot'
import { ConfigError } from '../domain/errors.ts'
import { secretsOf } from '../domain/redact.ts'
import { checkKeyFile, load, pem } from './files.ts'
import { LAYER_DEFAULTS } from './layer-defaults.ts'
import { type Proxies, proxies } from './proxies.ts'
import { review } from './reference.ts'
import { bootState } from './sections/boot-state.ts'
import { bundle } from './sections/bundle.ts'
import { button } from './sections/button.ts'
import { content } from './sections/content.ts'
import { contract } from './sections/contract.ts'
import { diagnostics } from './sections/diagnostics.ts'
import { firmwareUpdate } from './sections/firmware-update.ts'
import { gates } from './sections/gates.ts'
import { health } from './sections/health.ts'
import { host } from './sections/host.ts'
import { hub } from './sections/hub.ts'
import { leds, ledsFlaw, lightsOf } from './sections/leds.ts'
import { local } from './sections/local.ts'
import { page } from './sections/page.ts'
import { provisioning } from './sections/provisioning.ts'
import { reboot } from './sections/reboot.ts'
import { reference } from './sections/reference-file.ts'
import { report } from './sections/report.ts'
import { slots } from './sections/slots.ts'
import { steps } from './sections/steps.ts'
import { swupdate } from './sections/swupdate.ts'
import { systemFiles } from './sections/system-files.ts'
import { trust } from './sections/trust.ts'
import { type Setting, section, settingsIn } from './setting.ts'

const piAdu = section({
  slots: v.exactOptional(slots, {}),
  ...systemFiles,
  ...contract,
  bootState: v.exactOptional(bootState, {}),
  swupdate: v.exactOptional(swupdate, {}),
  bundle: v.exactOptional(bundle, {}),
  steps: v.exactOptional(steps, {}),
  health: v.exactOptional(health, {}),
  hub: v.exactOptional(hub, {}),
  provisioning: v.exactOptional(provisioning),
  content: v.exactOptional(content, {}),
  trust: v.exactOptional(trust, {}),
  gates: v.exactOptional(gates, {}),
  host: v.exactOptional(host, {}),
  firmwareUpdate: v.exactOptional(firmwareUpdate, {}),
  reboot: v.exactOptional(reboot, {}),
  report: v.exactOptional(report, {}),
  local: v.exactOptional(local, {}),
  diagnostics: v.exactOptional(diagnostics, {}),
  leds: v.exactOptional(leds, {}),
  button: v.exactOptional(button, {}),
  page: v.exactOptional(page, {}),
})

/** The reference agent's file (PROTOCOL.md, "du-config.json"), plus `piAdu`. `review` looks at what else is in it. */
const schema = v.looseObject({ ...reference, piAdu: v.exactOptional(piAdu, {}) })

/** Every setting of the file, in the order of the documentation. */
export const settings = (): readonly Setting[] => settingsIn(schema)

export type Config = v.InferOutput<typeof schema> & {
  /** Settings that have no effect, one sentence each. */
  readonly warnings: readonly string[]
  /**
   * Whether there are two slots and a boot state: `piAdu.slots` or `piAdu.bootState` is in the file, or the boot state's
   * `fwEnvConfig` exists, as in our image. Without them the device takes packages and scripts, and no images.
   */
  readonly hasSlots: boolean
  /** PEM texts: of `hub.caFile`, else `edgegatewayCertPath`, else Node's list with the one that X509 adds; of `content.caFile`. */
  readonly hubCa: string | undefined
  readonly contentCa: string | undefined
  /** PEM text of `provisioning.caFile`. */
  readonly provisioningCa: string | undefined
  /** From the environment, read as curl reads it. */
  readonly proxies: Proxies
}

const SOURCE = 'agents.0.connectionSource'
const CA_FIELD = `${SOURCE}.connectionX509CaCertFilePath`
const CA_INSTEAD = 'piAdu.hub.caFile or edgegatewayCertPath names the authority'

/** The part of the check that looks at no other file. Errors: ConfigError that names the field and what is expected. Pure. */
export function checkedConfig(json: unknown, file: string) {
  const { mistakes, warnings } = review(json, Object.keys(piAdu.entries))
  if (mistakes.length > 0) throw new ConfigError(`${file}: ${mistakes.join('; ')}`)
  const result = v.safeParse(schema, json, { abortPipeEarly: true })
  if (!result.success) {
    const lines = result.issues.map(issue => `${v.getDotPath(issue) ?? 'the file'}: ${complaint(issue)}`)
    throw new ConfigError(`${file}: ${lines.join('; ')}`)
  }
  const config = result.output
  const source = config.agents[0]?.connectionSource
  if (!source && !config.piAdu.provisioning) throw new ConfigError(`${file}: ${SOURCE}: is missing`)
  if (config.piAdu.hub.keyPassphraseFile !== undefined && source?.connectionType !== 'X509') {
    throw new ConfigError(`${file}: piAdu.hub.keyPassphraseFile: has no effect without the connection type X509`)
  }
  const { gpio } = config.piAdu.button
  if (gpio !== undefined && lightsOf(config.piAdu.leds).some(light => light.gpio === gpio)) {
    throw new ConfigError(`${file}: piAdu.button.gpio: a light has this pin`)
  }
  const { pin, address } = config.piAdu.page
  const flaws = [
    ledsFlaw(config.piAdu.leds),
    pin !== undefined && address === undefined ? 'piAdu.page.pin: no effect without piAdu.page.address' : undefined,
  ]
  return { config, source, warnings: [...warnings, ...flaws.filter(each => each !== undefined)] }
}

/**
 * Reads and checks configuration and environment once. Errors: ConfigError that names the field and what is expected.
 */
export async function readConfig(
  file: string,
  environment: NodeJS.ProcessEnv = process.env,
  defaults = LAYER_DEFAULTS,
): Promise<Config> {
  const json = await load(file, defaults)
  const { config, source, warnings } = checkedConfig(json, file)
  const { hub, content, swupdate, provisioning } = config.piAdu
  const hasSlots = isSlotted(json, config.piAdu.bootState.fwEnvConfig)
  if (swupdate.keyFile !== undefined) await checkKeyFile(swupdate.keyFile)
  const authority = await (hub.caFile === undefined
    ? pem('edgegatewayCertPath', config.edgegatewayCertPath)
    : pem('piAdu.hub.caFile', hub.caFile))
  const added = await pem(CA_FIELD, source?.connectionX509CaCertFilePath)
  return {
    ...config,
    hasSlots,
    warnings: [
      ...warnings,
      ...(added && authority ? [`${CA_FIELD}: no effect, as ${CA_INSTEAD}`] : []),
      ...(source && provisioning ? [`${SOURCE}: no effect, as piAdu.provisioning gives the identity`] : []),
    ],
    hubCa: authority ?? (added && [...rootCertificates, added].join('\n')),
    contentCa: await pem('piAdu.content.caFile', content.caFile),
    provisioningCa: await pem('piAdu.provisioning.caFile', provisioning?.caFile),
    proxies: proxies(environment),
  }
}

function isSlotted(json: unknown, fwEnvConfig: string): boolean {
  const { piAdu: given = {} } = json as { piAdu?: object }
  return 'slots' in given || 'bootState' in given || existsSync(fwEnvConfig)
}

/** Texts that no log may contain. */
export const secretsIn = ({ agents }: Config): readonly string[] =>
  agents.flatMap(({ connectionSource: source }) =>
    source?.connectionType === 'string' ? secretsOf(source.connectionData) : [],
  )

/** Only the first entry is used (PROTOCOL.md, "du-config.json"). */
export function agentOf({ agents }: Config): Config['agents'][number] {
  const [first] = agents
  if (!first) throw new Error('a checked configuration has an agent')
  return first
}

export const journalFile = (config: Config): string => join(config.dataFolder, 'journal.json')

/** Where the files of steps are kept until they have run: a folder of the agent's alone, because whatever else is in it is removed. */
export const downloadsFolder = (config: Config): string =>
  join(config.downloadsFolder ?? join(config.dataFolder, 'downloads'), 'pi-adu')

export const slotMemoryFile = (config: Config): string => join(config.dataFolder, 'slots.json')

export const identityFolder = (config: Config): string => join(config.dataFolder, 'identity')

export const keyStoreFile = (config: Config): string => join(config.dataFolder, 'rootkeystore/rootkeys.json')

/** The library's own messages quote the value, which may be a key. */
function complaint({ received, message, expected }: v.BaseIssue<unknown>): string {
  if (received === 'undefined') return 'is missing'
  if (message.startsWith('Invalid key')) return 'is not a setting of this agent'
  if (!message.startsWith('Invalid')) return message
  return expected === 'Object'
    ? 'must be a section: { … }'
    : `must be ${expected === 'Array' ? 'a list' : 'something else'}`
}
