import { processFigures } from './process-figures.ts'
import type { Reader, ReadFigures } from './readers.ts'

// Reads one file over HTTPS, in a process of its own: reader-run.js READER URL CA-FILE BYTES. Each reader loads only what it needs.
const [reader, url, caFile, count] = process.argv.slice(2) as [Reader, string, string, string]
const bytes = Number(count)
let peakOfOthers = 0

const READERS: Record<Reader, () => Promise<AsyncIterable<Buffer>>> = {
  async own() {
    const { readFile } = await import('node:fs/promises')
    const { HttpContent } = await import('../../src/adapters/http/content.ts')
    const { systemClock } = await import('../../src/adapters/system/clock.ts')
    const { fetchFile } = await import('../../src/delivery/fetch.ts')
    const { ANYWHERE } = await import('../http/anywhere.ts')
    const proxies = { httpProxy: undefined, httpsProxy: undefined, noProxy: [] }
    const content = new HttpContent({ ca: await readFile(caFile, 'utf8'), ...proxies, stall: 60_000, hosts: ANYWHERE })
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const options = { rangeBytes: 1 << 20, mostRangeBytes: 16 << 20, timeout: 3_600_000 }
    const file = { url, origin: 'twin', size: bytes } as const
    return fetchFile({ content, clock: systemClock, log }, file, options, new AbortController().signal)
  },
  async https() {
    const { readFile } = await import('node:fs/promises')
    const { get } = await import('node:https')
    const ca = await readFile(caFile, 'utf8')
    return new Promise((resolve, reject) => {
      get(url, { ca, agent: false }, response => {
        if (response.statusCode === 200) resolve(response)
        else reject(new Error(`HTTP ${response.statusCode}`))
      }).once('error', reject)
    })
  },
  async curl() {
    const { spawn } = await import('node:child_process')
    const curl = spawn('curl', ['-sSf', '--cacert', caFile, url], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise<void>((resolve, reject) => {
      curl.once('error', reject)
      curl.once('close', code => (code === 0 ? resolve() : reject(new Error(`curl failed with exit code ${code}`))))
    })
    return piped(curl.stdout, ended, curl.pid!)
  },
}

/** The memory of curl counts too; it is read while curl runs. */
async function* piped(stdout: AsyncIterable<Buffer>, ended: Promise<void>, pid: number): AsyncGenerator<Buffer> {
  ended.catch(() => {})
  let next = 0
  for await (const piece of stdout) {
    if (performance.now() > next) {
      next = performance.now() + 100
      peakOfOthers = Math.max(peakOfOthers, processFigures(pid).peakMB)
    }
    yield piece
  }
  await ended
}

const stream = READERS[reader]
const before = processFigures(process.pid)
const begun = performance.now()
let seen = 0
for await (const piece of await stream()) seen += piece.length
const ms = performance.now() - begun
if (seen !== bytes) throw new Error(`${reader} read ${seen} of ${bytes} bytes`)
const after = processFigures(process.pid)
const figures: ReadFigures = {
  ms,
  cpuSeconds: after.cpuSeconds - before.cpuSeconds,
  peakMB: after.peakMB + peakOfOthers,
}
process.stdout.write(JSON.stringify(figures), () => process.exit())
