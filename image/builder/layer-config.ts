import { checkedConfig } from '../../src/config/config.ts'
import { merged } from '../../src/config/layer-defaults.ts'
import { messageOf } from '../../src/domain/errors.ts'

/** Settings that a layer may give all its devices. */
const FREE: readonly RegExp[] = [
  /^piAdu\.(leds|button|gates)\./,
  /^piAdu\.local\.folder$/,
  /^piAdu\.report\.progress$/,
  /^piAdu\.hub\.(keepAliveSeconds|spreadSeconds)$/,
  /^piAdu\.content\.(rangeBytes|stallSeconds|maxBytesPerSecond)$/,
  /^piAdu\.swupdate\.stallSeconds$/,
  /^piAdu\.health\.(timeoutSeconds|retrySeconds|checkTimeoutSeconds)$/,
  /^piAdu\.host\.rebootPatienceSeconds$/,
  /^piAdu\.firmwareUpdate\.(progressPercent|progressSeconds|stageSeconds)$/,
]

/** Settings that decide whom a device trusts and what an update may do: only those that layer.json names in "settings". */
const BY_NAME: readonly RegExp[] = [
  /^piAdu\.trust\./,
  /^piAdu\.bundle\.allow$/,
  /^piAdu\.swupdate\.(certificate|hardware|keyFile|writable|confine)$/,
  /^piAdu\.(hub|content)\.caFile$/,
  /^piAdu\.content\.allowedHosts$/,
  /^piAdu\.health\.failedUnits$/,
  /^piAdu\.bootState\.tries$/,
  /^piAdu\.firmwareUpdate\.(enabled|allowedHosts|requireSha256)$/,
  /^piAdu\.reboot\.enabled$/,
  /^piAdu\.contract$/,
]

/** An owner's configuration with nothing but what each must have. */
const LEAST = {
  ...{ schemaVersion: '1.1', manufacturer: 'm', model: 'm', agents: [{ name: 'a', manufacturer: 'm', model: 'm' }] },
  piAdu: { provisioning: { idScope: '0ne', registrationId: 'x', symmetricKeyFile: '/data/adu/dps.key' } },
}

/** What is wrong with a fragment of du-config.json in a layer; `named`: settings that its layer.json names. Pure. */
export function fragmentFlaws(fragment: unknown, named: readonly string[]): readonly string[] {
  if (typeof fragment !== 'object' || fragment === null || Array.isArray(fragment)) return ['it is not an object']
  const leaves = [...leavesOf(fragment)].map(([name]) => name)
  const flaws: string[] = []
  // A name of dots would read as a setting here, and the agent passes over it.
  for (const name of Object.keys(fragment).filter(key => key.includes('.')))
    flaws.push(`${name} is not a setting: write it as objects in each other`)
  for (const name of leaves) {
    if (FREE.some(pattern => pattern.test(name)) || named.includes(name)) continue
    if (BY_NAME.some(pattern => pattern.test(name)))
      flaws.push(`${name} decides what devices trust: name it in "settings" of layer.json if you mean it`)
    else flaws.push(`${name} belongs to the device or to the image`)
  }
  for (const name of named) {
    if (!BY_NAME.some(pattern => pattern.test(name)) || !leaves.includes(name))
      flaws.push(`"settings" of layer.json: ${JSON.stringify(name)} needs no naming, or is not in du-config.json`)
  }
  if (flaws.length > 0) return flaws
  try {
    checkedConfig(merged(fragment, LEAST), 'du-config.json')
    return []
  } catch (error) {
    return [messageOf(error).replace(/^du-config\.json: /, '')]
  }
}

/** `piAdu.hub.spreadSeconds` and its value, for each value that is not an object. Pure. */
export function* leavesOf(value: unknown, path = ''): Generator<readonly [name: string, value: unknown]> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) yield [path, value]
  else for (const [name, each] of Object.entries(value)) yield* leavesOf(each, path === '' ? name : `${path}.${name}`)
}
