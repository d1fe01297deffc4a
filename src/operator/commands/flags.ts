import { type Command, InvalidArgumentError, Option } from 'commander'
import { ALLOWANCES, type Allowance } from '../../bundle/allowance.ts'
import { type ReadOptions, readBundle } from '../bundle/show.ts'
import { EXIT, Failure } from '../failure.ts'
import type { FollowOptions } from '../follow.ts'

/** Options that several commands share. */

export interface FollowFlags {
  readonly interval: number
  readonly timeout: number
  readonly patience: number
  readonly json: boolean
}

export const withFollow = (command: Command, interval = 500): Command =>
  command
    .option('--interval <milliseconds>', 'how often to poll the twin', numberFrom(100), interval)
    .option('--timeout <minutes>', 'stop following after this time', numberFrom(0.01), 120)
    .option('--patience <seconds>', 'how long to keep trying while the hub is unreachable', numberFrom(0), 300)
    .option('--json', 'print JSON, one line per change', false)

export const followOptions = ({ interval, timeout, patience }: FollowFlags): FollowOptions => ({
  interval,
  timeout: timeout * 60_000,
  patience: patience * 1000,
})

/** Parses an option while the command line is read, before a command has done anything. */
export const numberFrom =
  (least: number) =>
  (given: string): number => {
    const value = given.trim() === '' ? Number.NaN : Number(given)
    if (!(Number.isFinite(value) && value >= least))
      throw new InvalidArgumentError(`It must be a number from ${least}.`)
    return value
  }

export const wholeNumber =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (given: string): number => {
    const value = numberFrom(least)(given)
    if (!(Number.isSafeInteger(value) && value <= most)) {
      const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`
      throw new InvalidArgumentError(`It must be a whole number ${range}.`)
    }
    return value
  }

export interface FleetFlags {
  readonly cert?: string
  readonly selection?: readonly string[]
  readonly allow?: readonly Allowance[]
}

/** The devices' configuration, to report a bundle that they would refuse before they try it. */
export const withFleet = (command: Command): Command =>
  command
    .option('--cert <file>', 'PEM certificate that the devices verify the bundle with')
    .addOption(selectionOption())
    .addOption(new Option('--allow <names...>', 'what piAdu.bundle.allow has on the devices').choices([...ALLOWANCES]))

export const readOptions = ({ cert, selection, allow }: FleetFlags): ReadOptions => ({
  certificate: cert,
  selections: selection,
  allow,
})

const selectionOption = (): Option =>
  new Option(
    '--selection <set,mode...>',
    'what the devices select in sw-description (default: stable,a and stable,b)',
  ).argParser((value: string, earlier: readonly string[] = []) => {
    if (!/^[^,]+,[^,]+$/.test(value)) throw new InvalidArgumentError('It is not like stable,a.')
    return [...earlier, value]
  })

export interface PayloadFlags extends FleetFlags {
  readonly uri: string
  readonly sha256?: string
  readonly size?: number
  readonly updateVersion?: string
  readonly file?: string
}

export const withPayload = (command: Command, isNeeded = true): Command =>
  withFleet(command)
    .addOption(new Option('--uri <url>', 'URL that the device fetches the bundle from').makeOptionMandatory(isNeeded))
    .option('--sha256 <hash>', 'SHA-256 of the bundle, hexadecimal or base64')
    .option('--size <bytes>', 'size of the bundle', wholeNumber(1))
    .option('--update-version <version>', 'version that the new system must have')
    .option('--file <bundle>', 'take hash, size and version from this copy of the bundle')

/** The payload of `firmwareUpdate`. The device checks it again; a mistake found here costs no message. */
export async function payloadOf(flags: PayloadFlags): Promise<Record<string, string | number>> {
  const { uri, file } = flags
  if (!URL.canParse(uri)) throw new Failure(EXIT.usage, '--uri is not a URL')
  const known = file === undefined ? undefined : await readBundle(file, readOptions(flags))
  if (known && known.findings.length > 0) throw new Failure(EXIT.failed, `${file}: ${known.findings[0]}`)
  const sha256 = flags.sha256 ?? known?.sha256
  if (sha256 !== undefined && !/^([0-9a-f]{64}|[A-Za-z0-9+/]{43}=)$/i.test(sha256)) {
    throw new Failure(EXIT.usage, '--sha256 is neither 64 hexadecimal digits nor 44 characters of base64')
  }
  const size = flags.size ?? known?.sizeInBytes
  const version = flags.updateVersion ?? known?.version
  return {
    fwPackageUri: uri,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(size === undefined ? {} : { sizeInBytes: size }),
    ...(version ? { version } : {}),
  }
}
