import * as v from 'valibot'
import { AgentError } from '../../domain/errors.ts'
import { decodeText, TextError } from '../../domain/text.ts'
import { JsonError, readJson } from '../../trust/json.ts'

/** In bytes. The largest list that is accepted is far smaller. */
export const MAX_APT_MANIFEST_BYTES = 256 * 1024
export const MAX_PACKAGES = 1000

/** One entry of `packages`. */
export interface AptPackage {
  /** Without the trailing `-` of a removal; may have an architecture: `libfoo:arm64`. */
  readonly name: string
  /** The exact version; absent: any, and the newest one is installed. */
  readonly version?: string
  readonly remove: boolean
}

/** The payload of a `microsoft/apt:1` step (PROTOCOL.md, "APT manifest"). */
export interface AptManifest {
  readonly name: string
  readonly version: string
  /** In the order of the file. */
  readonly packages: readonly AptPackage[]
  /** Said so, or one of the packages is an agent. */
  readonly agentRestartRequired: boolean
}

const text = v.pipe(
  v.string('must be text'),
  v.regex(/^[^\p{Cc}]{1,128}$/u, 'must have 1 to 128 characters, none of them a control character'),
)

const schema = v.looseObject(
  {
    name: text,
    version: text,
    packages: v.pipe(
      v.array(
        v.looseObject(
          { name: v.string('must be text'), version: v.optional(v.string('must be text')) },
          'must be an object',
        ),
        'must be a list',
      ),
      v.minLength(1, 'has no entry'),
      v.maxLength(MAX_PACKAGES, `has more than ${MAX_PACKAGES} entries`),
    ),
    agentRestartRequired: v.optional(v.boolean('must be true or false'), false),
  },
  'must be an object',
)

/**
 * Reads an APT manifest. No name or version that it lets through can be an option, a pattern or a word of a shell. Unknown
 * members are left alone. Errors: AgentError `APT_MANIFEST_BAD`, `APT_PACKAGE_BAD`.
 */
export function readAptManifest(bytes: Buffer): AptManifest {
  if (bytes.length > MAX_APT_MANIFEST_BYTES) bad(`is larger than ${MAX_APT_MANIFEST_BYTES} bytes`)
  const result = v.safeParse(schema, jsonIn(bytes))
  if (!result.success) {
    const [issue] = result.issues
    const place = v.getDotPath(issue)
    const what = issue.received === 'undefined' ? 'is missing' : issue.message
    throw new AgentError('APT_MANIFEST_BAD', place ? `the APT manifest: ${place} ${what}` : `the APT manifest ${what}`)
  }
  const { name, version, agentRestartRequired } = result.output
  const packages = result.output.packages.map(readPackage)
  for (const [index, each] of packages.entries()) {
    const first = packages.findIndex(other => other.name === each.name)
    if (first < index) badPackage(index, `${each.name} is in the list already, as entry ${first}`)
  }
  const restart = agentRestartRequired || packages.some(each => needsRestart(each.name))
  return { name, version, packages, agentRestartRequired: restart }
}

function readPackage(
  { name: given, version }: { name: string; version?: string | undefined },
  index: number,
): AptPackage {
  const remove = given.endsWith('-')
  const name = remove ? given.slice(0, -1) : given
  if (/:(any|native)$/.test(name)) {
    badPackage(
      index,
      `${quoted(given)} is not the name that dpkg has of a package: give an architecture, such as arm64, or none`,
    )
  }
  if (!NAME.test(name) || given.length > MAX_LENGTH) {
    badPackage(
      index,
      `${quoted(given)} is not the name of a Debian package (a-z 0-9 + - .), with "-" at its end to remove it`,
    )
  }
  if (version === undefined) return { name, remove }
  if (remove) badPackage(index, `${name} is to be removed, so it cannot have a version`)
  if (!VERSION.test(version) || version.length > MAX_LENGTH) {
    badPackage(index, `the version ${quoted(version)} of ${name} is not a Debian version (0-9 A-Z a-z . + : ~ -)`)
  }
  return { name, version, remove }
}

const MAX_LENGTH = 128
const NAME = /^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+(-[a-z0-9]+)*)?$/
const VERSION = /^[0-9A-Za-z.+:~-]+$/

/** The agent is restarted when its own package was changed; the reference agent's rule is kept for its package. */
const needsRestart = (name: string): boolean => isOwnPackage(name) || name.startsWith('deviceupdate-agent')

/** Whether it is the package of this agent. */
export const isOwnPackage = (name: string): boolean => name.split(':')[0] === 'pi-adu-agent'

function jsonIn(bytes: Buffer): unknown {
  try {
    return readJson(decodeText(bytes))
  } catch (cause) {
    if (cause instanceof JsonError || cause instanceof TextError) bad(cause.message, { cause })
    throw cause
  }
}

const quoted = (given: string): string => JSON.stringify(given.slice(0, 64))

function bad(message: string, options?: ErrorOptions): never {
  throw new AgentError('APT_MANIFEST_BAD', `the APT manifest ${message}`, options)
}

function badPackage(index: number, message: string): never {
  throw new AgentError('APT_PACKAGE_BAD', `the APT manifest, packages.${index}: ${message}`)
}
