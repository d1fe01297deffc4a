import { constants } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import * as v from 'valibot'
import { AgentError, messageOf } from '../domain/errors.ts'

const count = (least: number, most: number) => v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most))
const list = v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(256)))
const absolute = v.pipe(v.string(), v.regex(/^\//, 'is not an absolute path'))
const userName = v.pipe(v.string(), v.regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'is not the name of a user'))

/** The settings of the step service, in a file that only root may write (README.md, "Settings"). */
const stepSettings = v.strictObject({
  rootKeys: v.optional(v.array(v.strictObject({ kid: v.string(), n: v.string(), e: v.string() })), []),
  providers: v.optional(list, []),
  properties: v.optional(v.record(v.string(), v.string())),
  allowDowngrade: v.optional(v.boolean(), false),
  packages: v.optional(
    v.strictObject({
      run: v.optional(v.picklist(['on', 'off']), 'on'),
      allowDowngrade: v.optional(v.boolean(), false),
      lockSeconds: v.optional(count(0, 3600), 300),
    }),
    {},
  ),
  scripts: v.optional(
    v.strictObject({
      run: v.optional(v.picklist(['on', 'off']), 'off'),
      user: v.optional(userName, 'adu-steps'),
      asRoot: v.optional(list, []),
    }),
    {},
  ),
  components: v.optional(
    v.pipe(
      v.strictObject({
        file: v.optional(absolute),
        enumerator: v.optional(absolute),
        seconds: v.optional(count(1, 600), 30),
      }),
      v.check(
        ({ file, enumerator }) => (file === undefined) !== (enumerator === undefined),
        'needs either file or enumerator',
      ),
    ),
  ),
  handlersFolder: v.optional(absolute, '/usr/lib/pi-adu/handlers.d'),
  limits: v.optional(
    v.strictObject({
      seconds: v.optional(count(1, 86_400), 3600),
      memoryMegabytes: v.optional(count(16, 1_048_576), 512),
      tasks: v.optional(count(1, 65_536), 256),
      fileMegabytes: v.optional(count(1, 1_048_576), 4096),
    }),
    {},
  ),
})

export type StepSettings = v.InferOutput<typeof stepSettings>

/** Where the owner of a device keeps them. */
export const SETTINGS = '/etc/pi-adu/steps.json'

const MAX_BYTES = 256 * 1024

/** Errors: AgentError `STEP_SERVICE` with the member that is wrong. */
export function settingsIn(text: string, file: string): StepSettings {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw unusable(file, `is not JSON: ${messageOf(error)}`)
  }
  if (Array.isArray(json)) throw unusable(file, 'is a list, not an object')
  const found = v.safeParse(stepSettings, json)
  if (found.success) return found.output
  const [issue] = found.issues
  throw unusable(file, `${v.getDotPath(issue) ?? ''}: ${issue.message}`)
}

/**
 * The settings in `file`, or the defaults where there is none. A service of root obeys only a file that nobody else may write. Errors:
 * AgentError `STEP_SERVICE`.
 */
export async function readSettings(file: string): Promise<StepSettings> {
  let text: string
  try {
    text = await readOwned(file)
  } catch (error) {
    if (error instanceof AgentError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return settingsIn('{}', file)
    throw unusable(file, `cannot be read: ${messageOf(error)}`)
  }
  return settingsIn(text, file)
}

/** The file's text, from a file that only root may change if this is root. */
async function readOwned(file: string): Promise<string> {
  // A FIFO does not block the open, and is refused below; a link would lead out of the folder that is checked.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  try {
    const found = await handle.stat()
    if (!found.isFile() || found.size > MAX_BYTES) throw unusable(file, `is not a file of at most ${MAX_BYTES} bytes`)
    if (process.getuid?.() === 0) {
      if (isOpen(found))
        throw unusable(file, 'must belong to root, and nobody else may write it: chown root:root, chmod 644')
      if (isOpen(await stat(dirname(file))))
        throw unusable(dirname(file), 'must belong to root, and nobody else may write it')
    }
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}

const isOpen = ({ uid, mode }: { readonly uid: number; readonly mode: number }): boolean =>
  uid !== 0 || (mode & 0o022) !== 0

const unusable = (file: string, why: string): AgentError =>
  new AgentError('STEP_SERVICE', `the step service cannot work with ${file}: it ${why}`)
