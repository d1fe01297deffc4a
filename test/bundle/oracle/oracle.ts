import { spawn } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { fits, objectionsTo } from '../../../src/bundle/objections.ts'
import { DescriptionError } from '../../../src/bundle/setting.ts'
import { type Choice, readDescription, softwareFor } from '../../../src/bundle/sw-description.ts'
import { fileFault } from '../../../src/operator/bundle/content.ts'
import { checksumOf, cpioHeader, cpioPadding, cpioTrailer } from '../../../src/operator/bundle/cpio.ts'
import { formOf } from '../../../src/operator/bundle/forms.ts'
import type { Signer } from '../../../src/operator/bundle/pack.ts'
import { openBundleSigner } from '../../bench/workbench/bundle-key.ts'
import { swupdateProgram } from '../../bench/workbench/program.ts'
import { description } from './mutations.ts'

/** Real `swupdate -c` beside our reader, on one description after the other. */

const KEY = Buffer.alloc(32, 7)
const IVT = Buffer.alloc(16, 9)
const cipher = createCipheriv('aes-256-cbc', KEY, IVT)
const PAYLOADS: Readonly<Record<string, Buffer>> = {
  x: Buffer.alloc(700, 'x'),
  y: Buffer.alloc(3, 'y'),
  // An empty frame of zstd, and one of gzip.
  z: Buffer.from('28b52ffd2000010000', 'hex'),
  g: gzipSync('g'),
  s: Buffer.from('exit 0\n'),
  e: Buffer.concat([cipher.update(Buffer.alloc(100, 'e')), cipher.final()]),
}
const HASHES = new Map(
  Object.entries(PAYLOADS).map(([name, bytes]) => [name, createHash('sha256').update(bytes).digest('hex')]),
)

const FILES = Object.entries(PAYLOADS).map(([name, bytes]) => ({
  name,
  sizeInBytes: bytes.length,
  sha256: HASHES.get(name)!,
  form: formOf(bytes),
}))

interface Device {
  readonly revision: string
  readonly choice: Required<Choice>
}
const DEVICES: readonly Device[] = [
  { revision: '1.0', choice: { board: 'pi', set: 'stable', mode: 'a' } },
  { revision: '1.0', choice: { board: 'pi', set: 'stable', mode: 'b' } },
  { revision: '2.1', choice: { board: 'other', set: 'stable', mode: 'b' } },
  { revision: '1.0', choice: { board: 'pi', set: 'main', mode: 'x' } },
]

export interface Verdict {
  readonly number: number
  readonly text: string
  readonly selection: string
  /** What SWUpdate says in the end. */
  readonly theirs: boolean
  readonly words: string
  /** Empty where we take it. */
  readonly ours: readonly { readonly kind: 'swupdate' | 'policy'; readonly message: string }[]
}

/** In order for us, refused by SWUpdate; or refused by us as if SWUpdate did, and taken by it. */
export const disagrees = ({ theirs, ours }: Verdict): boolean =>
  theirs ? ours.some(({ kind }) => kind === 'swupdate') : ours.length === 0

/** Judges the mutations from `first` on, several at a time, since `swupdate -c` sleeps for a second. */
export async function judge(
  first: number,
  count: number,
  atOnce: number,
  onVerdict: (verdict: Verdict) => void,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'oracle-'))
  try {
    const signer = await openBundleSigner(dir)
    const keyFile = join(dir, 'aes')
    await writeFile(keyFile, `${KEY.toString('hex')} ${IVT.toString('hex')}\n`)
    const alone = await isolation()
    let next = first
    const worker = async (): Promise<void> => {
      while (next < first + count) onVerdict(await judgeOne({ dir, signer, keyFile, alone }, next++))
    }
    await Promise.all(Array.from({ length: alone.length > 0 ? atOnce : Math.min(atOnce, 5) }, worker))
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** Another SWUpdate than that of the system: the words of a command. */
const SWUPDATE = process.env.SWUPDATE?.split(' ') ?? (await swupdateProgram())

interface Bench {
  readonly dir: string
  readonly signer: Signer
  readonly keyFile: string
  readonly alone: readonly string[]
}

async function judgeOne({ dir, signer, keyFile, alone }: Bench, number: number): Promise<Verdict> {
  const raw = description(number)
  const text = raw.replaceAll(/@(\w+)@/g, (_, name) =>
    name === 'ivt' ? IVT.toString('hex') : (HASHES.get(name) ?? ''),
  )
  // A byte each below 256, as mutations change bytes; what is above is UTF-8.
  const bytes = Buffer.concat([...text].map(c => (c.charCodeAt(0) < 256 ? Buffer.from(c, 'latin1') : Buffer.from(c))))
  // Mostly one that we take it for: there a disagreement would be the worst.
  const any = DEVICES[number % DEVICES.length]!
  const { revision, choice } =
    (number % 3 === 0 ? undefined : DEVICES.find(each => ours(bytes, each).length === 0)) ?? any
  const selection = `${choice.set},${choice.mode}`
  const home = await mkdtemp(join(dir, 'run-'))
  try {
    const list = join(home, 'list')
    await writeFile(list, bytes)
    await program([
      ...['openssl', 'cms', '-sign', '-in', list, '-out', `${list}.sig`, '-signer', signer.certificate],
      ...['-inkey', signer.key, '-outform', 'DER', '-nosmimecap', '-binary'],
    ])
    const files = [
      { name: 'sw-description', content: bytes },
      { name: 'sw-description.sig', content: await readFile(`${list}.sig`) },
      ...Object.entries(PAYLOADS).map(([name, content]) => ({ name, content })),
    ]
    await writeFile(join(home, 'swu'), archive(files))
    const said = await swupdate(home, [
      ...alone,
      ...SWUPDATE,
      ...['-c', '-M', '-m', '-k', signer.certificate, '-K', keyFile],
      ...['-H', `${choice.board}:${revision}`, '-e', selection, '-i', join(home, 'swu')],
    ])
    const theirs = said.includes('SWUPDATE successful !')
    return {
      number,
      text,
      selection: `${choice.board}:${revision} ${selection}`,
      theirs,
      words: said,
      ours: ours(bytes, { revision, choice }),
    }
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}

function ours(bytes: Buffer, { revision, choice }: Device): Verdict['ours'] {
  try {
    const software = softwareFor(readDescription(bytes), choice)
    const found: Verdict['ours'][number][] = [...objectionsTo(software, new Set(HASHES.keys()))]
    if (!fits(software, revision)) found.push({ kind: 'policy', message: 'another board' })
    const items = [...software.images, ...software.files, ...software.scripts]
    found.push(...items.flatMap(item => fileFault(item, FILES)).map(message => ({ kind: 'policy' as const, message })))
    const garbled = items.some(({ fileName, encrypted, compressed }) => encrypted && (fileName !== 'e' || compressed))
    return garbled ? [...found, { kind: 'policy', message: 'the payload is not encrypted' }] : found
  } catch (error) {
    if (error instanceof DescriptionError) return [{ kind: error.kind, message: error.message }]
    throw error
  }
}

/**
 * Every swupdate binds one of ten names in the abstract socket namespace of the machine; one without says nothing more of what
 * it does. A network namespace of its own keeps it from those of others.
 */
async function isolation(): Promise<readonly string[]> {
  for (const flags of ['-n', '-rn']) {
    if ((await program(['unshare', flags, 'echo', 'alone'])) === 'alone\n') return ['unshare', flags]
  }
  return []
}

async function swupdate(home: string, argv: readonly string[]): Promise<string> {
  for (;;) {
    const said = await program(argv, home)
    // Nor does one whose own control socket is not there within three seconds, on a busy machine, judge anything.
    if (!/Error binding notifier socket|swupdate_async_start returns/.test(said)) return said
  }
}

interface ArchivedFile {
  readonly name: string
  readonly content: Buffer
}

function archive(files: readonly ArchivedFile[]): Buffer {
  const parts = files.flatMap(({ name, content }, index) => {
    const header = cpioHeader({ name, size: content.length, checksum: checksumOf(content) }, index)
    return [header, content, cpioPadding(content.length)]
  })
  const whole = Buffer.concat(parts)
  return Buffer.concat([whole, cpioTrailer(whole.length)])
}

/** Its output, however it ended. In a group of its own: SWUpdate may leave a helper behind. */
function program(argv: readonly string[], home?: string): Promise<string> {
  const [file = '', ...args] = argv
  const env = {
    ...process.env,
    PATH: `${process.env.PATH}:/usr/sbin`,
    ...(home ? { TMPDIR: home, RUNTIME_DIRECTORY: home } : {}),
  }
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(home ? { cwd: home } : {}),
    })
    const said: Buffer[] = []
    const end = (): void => {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch {
        // Nobody is left.
      }
    }
    const limit = setTimeout(end, 120_000)
    child.stdout.on('data', chunk => said.push(chunk))
    child.stderr.on('data', chunk => said.push(chunk))
    child.once('error', reject)
    child.once('exit', end)
    child.once('close', () => {
      clearTimeout(limit)
      resolve(Buffer.concat(said).toString())
    })
  })
}
