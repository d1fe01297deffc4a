import { createReadStream } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import tar from 'tar-stream'
import type { NpmPackage } from './agent-bundle.ts'
import { type Component, NOT_IN_IMAGE } from './inventory.ts'

export interface LicenceSources {
  /** The tar file of the root file system, before anything is left out. */
  readonly base: string
  /** Folders of unpacked packages. */
  readonly parts: string
  /** A folder with the copyright files of packages that firmware was taken out of. */
  readonly firmware?: string
  readonly npm: readonly NpmPackage[]
  /** The agent's own licence. */
  readonly own: string
  /** Debian packages, to name those without a text of their own. */
  readonly debs: readonly Component[]
  readonly epoch: number
}

const COPYRIGHT = /^(?:\.\/)?usr\/share\/doc\/([^/]+)\/copyright$/
/** The texts that copyright files refer to. */
const COMMON = /^(?:\.\/)?usr\/share\/common-licenses\/([^/]+)$/
const TEXT = /^(licen[cs]e|copying|notice|copyright)([._-].*)?$/i
/** The root file system's tar file has devices and links; only these are kept. */
type Texts = Map<string, { readonly content: Buffer } | { readonly link: string }>

/**
 * The licence texts of all that is in the image, as tar.gz: `debian/PACKAGE/copyright`, `common-licenses/`, `npm/NAME@VERSION/` and
 * `pi-adu-agent/`. The same sources give the same bytes.
 */
export async function licenceTexts({ base, parts, firmware, npm, own, debs, epoch }: LicenceSources): Promise<Buffer> {
  const texts: Texts = new Map([['pi-adu-agent/LICENSE', { content: await readFile(own) }]])
  await addRootFileSystem(base, texts)
  const packages = (await readdir(parts)).filter(name => !NOT_IN_IMAGE.includes(name)).map(name => join(parts, name))
  for (const folder of firmware === undefined ? packages : [...packages, firmware]) {
    const docs = join(folder, 'usr/share/doc')
    for (const deb of await readdir(docs).catch(() => [])) {
      const content = await readFile(join(docs, deb, 'copyright')).catch(() => undefined)
      if (content) texts.set(`debian/${deb}/copyright`, { content })
    }
  }
  for (const each of npm) await addNpm(each, texts)
  const without = debs.filter(({ name }) => !texts.has(`debian/${name}/copyright`)).map(({ name }) => name)
  const note = `Debian keeps the text of these packages with another package of the same source:\n\n${without.join('\n')}\n`
  if (without.length > 0) texts.set('debian/OTHERS.txt', { content: Buffer.from(note) })
  return pack(texts, epoch)
}

async function addRootFileSystem(base: string, texts: Texts): Promise<void> {
  for await (const entry of createReadStream(base).pipe(tar.extract())) {
    const { name, type, linkname } = entry.header
    const [, deb] = COPYRIGHT.exec(name) ?? []
    const [, common] = COMMON.exec(name) ?? []
    const path = deb === undefined ? common && `common-licenses/${common}` : `debian/${deb}/copyright`
    if (path === undefined || !['file', 'symlink'].includes(type ?? '')) entry.resume()
    else if (type === 'symlink') {
      // Such as GPL, which leads to the newest one beside it.
      if (common !== undefined && linkname && !linkname.includes('/')) texts.set(path, { link: linkname })
      entry.resume()
    } else {
      const pieces: Buffer[] = []
      for await (const piece of entry) pieces.push(piece as Buffer)
      texts.set(path, { content: Buffer.concat(pieces) })
    }
  }
}

async function addNpm({ name, version, licence, folder }: NpmPackage, texts: Texts): Promise<void> {
  const files = (await readdir(folder, { withFileTypes: true })).filter(file => file.isFile() && TEXT.test(file.name))
  for (const file of files)
    texts.set(`npm/${name}@${version}/${file.name}`, { content: await readFile(join(folder, file.name)) })
  const none = `${name} ${version}: ${licence ?? 'no licence'}, says its package.json. It has no licence text.\n`
  if (files.length === 0) texts.set(`npm/${name}@${version}/LICENSE`, { content: Buffer.from(none) })
}

async function pack(texts: Texts, epoch: number): Promise<Buffer> {
  const archive = tar.pack()
  const owner = { uid: 0, gid: 0, uname: 'root', gname: 'root', mtime: new Date(epoch * 1000), mode: 0o644 }
  for (const name of [...texts.keys()].sort()) {
    const text = texts.get(name)!
    if ('link' in text) archive.entry({ ...owner, name, type: 'symlink', linkname: text.link })
    else archive.entry({ ...owner, name }, text.content)
  }
  archive.finalize()
  const pieces: Buffer[] = []
  for await (const piece of archive) pieces.push(piece as Buffer)
  return gzipSync(Buffer.concat(pieces), { level: 9 })
}
