import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { link, mkdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { IMAGE, REVISION } from './data.ts'
import { run } from './run.ts'
import type { Signer } from './signer.ts'

export interface BundleDescription {
  readonly version: string
  /** Compressed image of the root file system. */
  readonly image: string
  readonly signer: Signer
  readonly revision?: string
}

const PAYLOAD = 'rootfs.ext4.zst'

/** `zstd -T` gives the same bytes for any number of threads above none. */
export const compress = (from: string, to: string, level = 10): Promise<string> =>
  run(['zstd', '-q', '-f', '-T2', `-${level}`, from, '-o', to])

/** Writes the signed bundle: cpio with checksums, sw-description first (SWUpdate, "sw-description"). */
export async function makeBundle(output: string, { version, image, signer, revision = REVISION }: BundleDescription) {
  const dir = `${output}.parts`
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true })
  try {
    await link(image, join(dir, PAYLOAD))
    const template = await readFile(join(IMAGE, 'sw-description.in'), 'utf8')
    const values: Record<string, string> = { VERSION: version, REVISION: revision, SHA256: await sha256(image) }
    await writeFile(
      join(dir, 'sw-description'),
      template.replaceAll(/@(\w+)@/g, (_, name) => values[name] ?? ''),
    )
    await run(
      [
        ...(['openssl', 'cms', '-sign', '-in', 'sw-description', '-out', 'sw-description.sig'] as const),
        ...['-signer', signer.certificate, '-inkey', signer.key],
        ...['-outform', 'DER', '-nosmimecap', '-binary', '-md', 'sha256'],
      ],
      { cwd: dir },
    )
    const names = ['sw-description', 'sw-description.sig', PAYLOAD]
    for (const name of names) await utimes(join(dir, name), 1.6e9, 1.6e9)
    const input = `${names.join('\n')}\n`
    await run(['cpio', '--quiet', '--reproducible', '-o', '-H', 'crc', '-F', '../bundle.new'], {
      cwd: dir,
      stdin: 'pipe',
      input,
    })
    await rename(join(dir, '../bundle.new'), output)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk)
  return hash.digest('hex')
}
