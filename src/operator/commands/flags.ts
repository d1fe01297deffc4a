import { type Command, Option } from 'commander'
import { readBundle } from '../bundle/show.ts'
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
    .option('--interval <milliseconds>', 'between two looks at the twin', Number, interval)
    .option('--timeout <minutes>', 'follow for so long at the most', Number, 120)
    .option('--patience <seconds>', 'how long the hub may be away', Number, 300)
    .option('--json', 'print JSON, one line for each change', false)

export function followOptions({ interval, timeout, patience }: FollowFlags): FollowOptions {
  if (!(interval >= 100)) throw new Failure(EXIT.usage, '--interval is a number of milliseconds, at least 100')
  if (!(timeout > 0 && patience >= 0)) throw new Failure(EXIT.usage, '--timeout and --patience are positive numbers')
  return { interval, timeout: timeout * 60_000, patience: patience * 1000 }
}

export interface PayloadFlags {
  readonly uri: string
  readonly sha256?: string
  readonly size?: number
  readonly updateVersion?: string
  readonly file?: string
}

export const withPayload = (command: Command, isNeeded = true): Command =>
  command
    .addOption(new Option('--uri <url>', 'where the device fetches the bundle').makeOptionMandatory(isNeeded))
    .option('--sha256 <hash>', 'of the bundle, hexadecimal or base64')
    .option('--size <bytes>', 'of the bundle', Number)
    .option('--update-version <version>', 'version that the new system must have')
    .option('--file <bundle>', 'take hash, size and version from this copy of the bundle')

/** The payload of `firmwareUpdate`. The device checks it again; here a mistake costs no message. */
export async function payloadOf(flags: PayloadFlags): Promise<Record<string, string | number>> {
  const { uri, file } = flags
  if (!URL.canParse(uri)) throw new Failure(EXIT.usage, '--uri is not a URL')
  const known = file === undefined ? undefined : await readBundle(file)
  if (known && known.findings.length > 0) throw new Failure(EXIT.failed, `${file}: ${known.findings[0]}`)
  const sha256 = flags.sha256 ?? (known && Buffer.from(known.sha256, 'base64').toString('hex'))
  if (sha256 !== undefined && !/^([0-9a-f]{64}|[A-Za-z0-9+/]{43}=)$/i.test(sha256)) {
    throw new Failure(EXIT.usage, '--sha256 is neither 64 hexadecimal digits nor 44 characters of base64')
  }
  const size = flags.size ?? known?.sizeInBytes
  if (size !== undefined && !(Number.isInteger(size) && size > 0)) {
    throw new Failure(EXIT.usage, '--size is a whole number of bytes')
  }
  const version = flags.updateVersion ?? known?.version
  return {
    fwPackageUri: uri,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(size === undefined ? {} : { sizeInBytes: size }),
    ...(version ? { version } : {}),
  }
}
