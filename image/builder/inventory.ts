import { lstat, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Layers } from './layers.ts'

/** A part of the image that somebody made and gave a version. */
export interface Component {
  readonly kind: 'deb' | 'npm' | 'layer' | 'agent'
  readonly name: string
  readonly version: string
  /** As the package declares it: an SPDX expression. */
  readonly licence?: string
  readonly sha256?: string
  /** Size in KiB: of a Debian package as installed, before the image leaves files out; of a layer, its files. */
  readonly kib?: number
  /** URL of the layer's source that a Debian package came from; undefined for one of Debian's own. */
  readonly source?: string
}

/** Packages in boot-packages.txt that are built with, or are for QEMU, but are not in the image. */
export const NOT_IN_IMAGE: readonly string[] = ['u-boot-qemu', 'libnode-dev', 'libuv1-dev']

/** A line of versions.txt: name, version, and perhaps the size in KiB and the source's URL, separated by tabs. Pure. */
export function debsOf(text: string): readonly Component[] {
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [name = '', version = '', kib, source] = line.split('\t')
      return { kind: 'deb' as const, name, version, ...(kib && { kib: Number(kib) }), ...(source && { source }) }
    })
    .filter(({ name }) => !NOT_IN_IMAGE.includes(name))
}

export interface InventorySources {
  /** Folders with `versions.txt`. */
  readonly base: string
  readonly parts: string
  readonly firmware?: string
  /** In the agent's program and beside it. */
  readonly npm: readonly Component[]
  readonly agent: { readonly version: string; readonly licence: string; readonly bytes: number }
  readonly layers: Layers
}

/** All that is in the image, sorted by kind and name. */
export async function readInventory({
  base,
  parts,
  firmware,
  npm,
  agent,
  layers,
}: InventorySources): Promise<readonly Component[]> {
  const folders = [base, parts, ...(firmware === undefined ? [] : [firmware])]
  const debs = await Promise.all(folders.map(dir => readFile(join(dir, 'versions.txt'), 'utf8')))
  const { version, licence } = agent
  const own = { kind: 'agent' as const, name: 'pi-adu-agent', version, licence, kib: Math.ceil(agent.bytes / 1024) }
  const ours: Component[] = []
  for (const layer of layers.list) {
    let bytes = 0
    for (const file of layers.files) if (file.layer === layer.name) bytes += (await lstat(file.from)).size
    ours.push({ kind: 'layer', ...layer, kib: Math.ceil(bytes / 1024) })
  }
  const all = [own, ...debs.flatMap(debsOf), ...npm, ...ours]
  const byId = new Map(all.map(component => [idOf(component), component]))
  return [...byId.keys()].sort().map(id => byId.get(id)!)
}

/** Unique in an inventory. Pure. */
export const idOf = ({ kind, name, version }: Component): string => `${kind}/${name}@${version}`

/** What takes most room, largest first. Pure. */
export function largest(components: readonly Component[], count: number): readonly Component[] {
  return components.toSorted((one, two) => (two.kib ?? 0) - (one.kib ?? 0)).slice(0, count)
}

/** Sizes for a person: each package and layer, largest first, against the slot. Pure. */
export function sizeReport(components: readonly Component[], rootBytes: number, slotBytes: number): string {
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
  const known = components.filter(({ kib }) => kib !== undefined)
  const lines = largest(known, known.length).map(
    ({ kind, name, version, kib = 0 }) => `${mib(kib * 1024).padStart(7)}  ${kind.padEnd(5)}  ${name} ${version}`,
  )
  return [
    `# Root file system: ${mib(rootBytes)} MiB of ${mib(slotBytes)} MiB, ${Math.round((rootBytes / slotBytes) * 100)} %`,
    '# MiB of each package as Debian installs it, before the image leaves files out (prune.txt), and of each layer.',
    ...lines,
    '',
  ].join('\n')
}
