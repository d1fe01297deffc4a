import { AgentError, ProcessError } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import { byLine, describe, type Ending } from '../system/program.ts'
import { SHARED } from './socket-place.ts'

/** Values for the sentences. */
export interface Context {
  readonly argv: readonly string[]
  readonly selection: string
  readonly device: string
  /** The bundle's name for the slot: `pi-adu/b`. */
  readonly inlet: string
  readonly keyFile: string | undefined
  /** The image is encrypted. */
  readonly encrypted: boolean
}

/** Lines that SWUpdate prints for every failure and that say nothing. */
const EMPTY_PHRASES =
  /^(SWUpdate \*failed\* !|Image invalid or corrupted\. Not installing \.\.\.|Error happened\. Not installing \.\.\.|Installation failed !)$/

/** Lines that name the cause although SWUpdate does not mark them as errors. */
const UNMARKED: readonly [line: RegExp, error: (match: RegExpExecArray) => string][] = [
  [/instead of sw-description\.sig/, () => 'the bundle is not signed: no sw-description.sig'],
  // From libconfig. SWUpdate tries JSON next, and its "JSON File corrupted" says nothing.
  [/sw-description:(\d+) - (.*)$/, ([, line, what]) => `sw-description, line ${line}: ${what}`],
  [/does not contain a valid AES key|set_aes_key : \d+ : Invalid /, () => BAD_KEY],
  [/^Error binding notifier socket/, () => 'too many SWUpdates run on this device already'],
]

const BAD_KEY = 'its key file is not valid'

/** More lines than fit into any report. */
const MAX_ERRORS = 50

export type Words = ReturnType<typeof byLine>

/** Reads SWUpdate's output: logs it, and adds its errors to `errors` for the report. `onLine` is called for each line. */
export const wordReader = (errors: string[], log: Log, onLine = (_: string): void => {}): Words =>
  byLine(line => {
    onLine(line)
    readWords(line, errors, log)
  })

function readWords(line: string, errors: string[], log: Log): void {
  const match = /^\[(\w+) *\] : (.*)$/.exec(line)
  const text = match?.[2] ?? line
  const note = (error: string): void => void (errors.length < MAX_ERRORS && errors.push(error.slice(0, 200)))
  for (const [pattern, error] of UNMARKED) {
    const found = pattern.exec(text)
    if (found) note(error(found))
  }
  if (match?.[1] === 'ERROR') {
    const bare = text
      .replace(/^SWUPDATE failed \[\d+\] /, '')
      .replace(/^ERROR *(\S+ )?: /, '')
      // Function and line, in SWUpdate since 2024.
      .replace(/^\w+ : \d+ : /, '')
      .trim()
    note(bare)
    log.warn('swupdate', { line: bare })
  } else if (match?.[1] !== 'TRACE' && match?.[1] !== 'DEBUG' && !text.includes('print_registered_handlers')) {
    log.debug('swupdate', { line: text.trim() })
  }
}

/** One sentence for SWUpdate's output: the known cause, else its own messages, each once. */
export function reasonOf(errors: readonly string[], { selection, inlet, keyFile, encrypted }: Context): string {
  const has = (pattern: RegExp): boolean => errors.some(line => pattern.test(line))
  const image = imageOf(errors)
  // Lines after these are consequences, and would mislead.
  if (has(/^Found nothing to install$/)) return `sw-description has nothing for the selection ${selection}`
  if (has(/^Error creating IPC /)) {
    return `it cannot create its sockets: Debian's SWUpdate since 2026.05 has them in ${SHARED}, which must exist and belong to the agent's user`
  }
  const syntax = errors.find(line => /^sw-description, line \d+: /.test(line))
  if (syntax) return syntax
  if (has(/^no key (or iv )?provided for decryption/)) {
    return `${image} is encrypted, and this device has no key for it: set piAdu.swupdate.keyFile`
  }
  if (errors.includes(BAD_KEY)) {
    return `${keyFile} (piAdu.swupdate.keyFile) cannot be read or is not an AES key: one line "KEY IV", both in hexadecimal digits`
  }
  const words = [...new Set(errors.filter(line => !EMPTY_PHRASES.test(line)))]
  const alone = words.length === 1 && words[0]?.startsWith('Error streaming ')
  // This is all that SWUpdate 2024 says about a wrong key.
  if (has(/[Dd]ecryption error|bad decrypt/) || (alone && encrypted)) {
    return `${image} cannot be decrypted: it was encrypted with another key than ${keyFile} (piAdu.swupdate.keyFile) holds`
  }
  if (alone) {
    return `${image} could not be unpacked or written, and SWUpdate does not say why; a device other than "${inlet}" must be in piAdu.swupdate.writable`
  }
  return words.join(' | ')
}

/**
 * Why the installation failed. `end`: SWUpdate ended by itself, which it never does in a good installation. `hint` is appended
 * to the message.
 */
export function failure(
  end: Ending | undefined,
  errors: readonly string[],
  context: Context,
  hint: string,
): AgentError {
  // Only if SWUpdate writes the device itself; a full temporary folder gives another message.
  const behind = errors.some(line => /No space left on device/.test(line))
  if (behind && errors.some(line => line.startsWith('Error streaming '))) {
    return new AgentError('SPACE', `${imageOf(errors)} does not fit into the slot ${context.device}`)
  }
  const said = reasonOf(errors, context)
  // When Debian's SWUpdate 2026.05 cannot start, it says why and crashes as it ends.
  const crashed = end?.signal === 'SIGSEGV' && said !== ''
  const code = end?.signal === undefined || crashed ? 'SWUPDATE_FAILED' : 'CHILD_KILLED'
  const how = end && !crashed ? describe(end) : 'failed'
  const text = `swupdate ${how}${said && `: ${said}`}${hint}`
  return new ProcessError(code, text, context.argv, end?.exitCode ?? 1, end?.signal)
}

const imageOf = (errors: readonly string[]): string =>
  errors.map(line => /^Error streaming (.*)$/.exec(line)?.[1]).find(Boolean) ?? 'the image'
