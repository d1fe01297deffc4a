import { createWriteStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { pipeline } from 'node:stream/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { readInput, textOf } from '../input.ts'

/** In the environment. */
export const CONTAINER = 'PI_ADU_LOGS_CONTAINER'

/** Milliseconds without a byte. */
const PATIENCE = 60_000

/** The URL of a container, which holds a signature. Errors: Failure that never quotes it. */
export async function containerUrl(file: string | undefined): Promise<URL> {
  const given = file === undefined ? process.env[CONTAINER] : textOf(await readInput(file), file)
  const from = file ?? CONTAINER
  if (!given) throw new Failure(EXIT.usage, `no container: set ${CONTAINER}, or use --container-file`)
  const text = given.trim()
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'https:' || !/^\/[^/]+$/.test(url.pathname) || !url.searchParams.has('sig'))
    throw new Failure(
      EXIT.usage,
      `${from} must be the URL of a container with a signature: https://ACCOUNT/CONTAINER?…&sig=…`,
    )
  return url
}

const partOf = (file: string): string => `${file}.part`

/** Whether `fetchBlob` can write `file`, asked before there is a blob. `leavePart` removes what this makes. Errors: Failure (usage). */
export async function mayBeWritten(file: string): Promise<void> {
  try {
    if ((await stat(file).catch(() => undefined))?.isDirectory()) throw new Error('it is a folder')
    await (await open(partOf(file), 'w', 0o600)).close()
  } catch (cause) {
    throw new Failure(EXIT.usage, `--out ${file} cannot be written: ${messageOf(cause)}`, { cause })
  }
}

/** Removes what is not the whole file. */
export const leavePart = (file: string): Promise<void> => rm(partOf(file), { force: true })

/**
 * Fetches a blob into `file`, which appears whole or not at all. Returns its bytes. Errors: Failure that names the blob, and never
 * quotes the URL; with the code `stopped` when `signal` aborts.
 */
export async function fetchBlob(container: URL, blob: string, file: string, signal: AbortSignal): Promise<number> {
  const url = new URL(container)
  url.pathname += `/${blob.split('/').map(encodeURIComponent).join('/')}`
  const part = partOf(file)
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = get(url, { headers: { 'x-ms-version': '2021-08-06' }, signal }, resolve).on('error', reject)
      sent.setTimeout(PATIENCE, () => sent.destroy(new Error(`no byte for ${PATIENCE / 1000} s`)))
    })
    if (answer.statusCode !== 200) {
      answer.destroy()
      throw new Error(`it answered ${answer.statusCode}`)
    }
    const handle = await open(part, 'w', 0o600)
    const out = createWriteStream('', { fd: handle, flush: true })
    await pipeline(answer, out, { signal })
    await rename(part, file)
    return out.bytesWritten
  } catch (cause) {
    await leavePart(file).catch(() => {})
    const there = `they stay in the container as ${blob}`
    if (signal.aborted) throw new Failure(EXIT.stopped, `stopped while the logs were fetched; ${there}`, { cause })
    const why = `the logs cannot be fetched from ${url.host} into ${file}: ${messageOf(cause)}; ${there}`
    throw new Failure(EXIT.unavailable, why, { cause })
  }
}
