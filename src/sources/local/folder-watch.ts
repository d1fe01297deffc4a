import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fetchSmall } from '../../delivery/fetch-small.ts'
import { ContentError, messageOf } from '../../domain/errors.ts'
import { EXTENDED_RESULT_CODE, ercText } from '../../domain/result-codes.ts'
import { onOneLine } from '../../domain/terminal.ts'
import { cutForJson } from '../../domain/text.ts'
import type { Content } from '../../ports/content.ts'
import type { Ports } from '../../ports/ports.ts'
import { deadline } from '../../timing/deadline.ts'
import { DEPLOYMENT_FILE } from '../../trust/local-deployment.ts'
import type { LocalInstalls } from './local-side.ts'

/** Milliseconds between two looks. A new file must be the same at two of them, so that it is whole. */
export const LOOK_EVERY = 5_000

/** So many answers in a row without the file, and it was taken away: one look may meet a bad contact. A medium that hangs stays. */
const AWAY_LOOKS = 6

/** The same from the start of the agent on, while it has nothing to do: a medium is mounted some minutes late, but not ten. */
const AWAY_AT_START_LOOKS = 120

/** Milliseconds that one look may take. */
const LOOK_WITHIN = 30_000

/** In place of the deployment: whoever mounts media says in one line why this one cannot be mounted. */
const TROUBLE_FILE = 'trouble.txt'

type Found =
  | { readonly is: 'there'; readonly tag: string }
  /** `why`: a medium is there, and this is what is wrong with it. */
  | { readonly is: 'away'; readonly why?: string }
  | { readonly is: 'silent' }

/**
 * Installs each deployment that appears in `folder`, until `signal` aborts, and then rejects with its reason. One that was tried
 * before is not tried a second time, unless it was taken away and brought back: for several looks the file was not there, after this
 * process had seen it, or for ten minutes from its start on. A stick that is mounted late was not brought back. A medium that
 * cannot be used is told as an event, until it is taken away.
 */
export async function watchFolder(
  folder: string,
  local: LocalInstalls,
  ports: Pick<Ports, 'content' | 'clock' | 'log' | 'events'>,
  signal: AbortSignal,
): Promise<never> {
  const { content, clock, log, events } = ports
  const urlOf = (name: string): string => pathToFileURL(join(folder, name)).href
  let last: Found = { is: 'silent' }
  let done: string | undefined
  let wasSeen = false
  let isBack = false
  let missed = 0
  let refusal: string | undefined
  for (;;) {
    // The first time before the agent begins anything.
    await whateverHappens(() => local.remember())
    await clock.sleep(LOOK_EVERY, signal)
    await whateverHappens(look)
  }

  /** Whatever a medium does, the agent goes on. */
  async function whateverHappens(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      signal.throwIfAborted()
      log.error('local.watch-failed', { why: messageOf(error), stack: (error as Error).stack })
    }
  }

  async function look(): Promise<void> {
    const found = await find()
    if (found.is === 'silent') return
    const before = last
    last = found
    if (found.is === 'away') {
      // A trial of a system that cannot read the medium says nothing about it.
      if (wasSeen || local.busy() === undefined) missed += 1
      if (before.is === 'away' && before.why === found.why) tell(found.why)
      if (missed === (wasSeen ? AWAY_LOOKS : AWAY_AT_START_LOOKS)) {
        done = undefined
        isBack = true
        await local.forget()
      }
      return
    }
    missed = 0
    wasSeen = true
    const { tag } = found
    if (before.is !== 'there' || before.tag !== tag || tag === done || local.busy() !== undefined) return
    const answer = await local.install(folder, isBack ? 'returned stick' : 'stick')
    if (answer.is === 'refused' && answer.code === BUSY) return
    done = tag
    isBack = false
    tell(answer.is === 'refused' && !NOTHING_TO_DO.includes(answer.code) ? answer.why : undefined)
  }

  function tell(why: string | undefined): void {
    if (why === refusal) return
    refusal = why
    events.tell(why === undefined ? { event: 'stick.away' } : { event: 'stick.refused', why })
  }

  /** `silent` when the medium does not even say whether it has the file. */
  async function find(): Promise<Found> {
    const { signal: either, clear } = deadline(clock, LOOK_WITHIN, () => new Error('took too long'), signal)
    try {
      return { is: 'there', tag: (await content.get(urlOf(DEPLOYMENT_FILE), NO_BYTES, either)).etag ?? '' }
    } catch (error) {
      signal.throwIfAborted()
      if (either.aborted || codeOf(error) === 'ETIMEDOUT') return { is: 'silent' }
      if (!ABSENT.includes(codeOf(error))) return { is: 'away', why: messageOf(error) }
      const why = await trouble(either)
      return { is: 'away', ...(why ? { why } : {}) }
    } finally {
      clear()
    }
  }

  async function trouble(either: AbortSignal): Promise<string | undefined> {
    const options = { maxBytes: 1024, timeout: LOOK_WITHIN, attempts: 1 }
    try {
      const here: Content = { get: (url, range, signal) => content.get(url, { ...range, origin: 'local' }, signal) }
      const text = await fetchSmall({ content: here, clock, log }, urlOf(TROUBLE_FILE), options, either)
      return cutForJson(onOneLine(text.toString()).trim(), MAX_TROUBLE)
    } catch {
      // Nobody has anything to say.
      signal.throwIfAborted()
      return undefined
    }
  }
}

/** Bytes. */
const MAX_TROUBLE = 240

const NO_BYTES = { origin: 'local', first: 0, last: 0 } as const

const ABSENT: readonly string[] = ['ENOENT', 'ENOTDIR']

const codeOf = (error: unknown): string =>
  (error instanceof ContentError && (error.cause as NodeJS.ErrnoException | undefined)?.code) || ''

const BUSY = ercText(EXTENDED_RESULT_CODE.LOCAL_BUSY)

/** These need nobody to mend anything. */
const NOTHING_TO_DO = [EXTENDED_RESULT_CODE.LOCAL_INSTALLED, EXTENDED_RESULT_CODE.LOCAL_TRIED].map(ercText)
