import { merged } from '../../src/config/layer-defaults.ts'
import { overlayFlaws } from '../../src/operator/cards/card-files.ts'
import { type Layer, readLayer, refused } from './layer.ts'
import { leavesOf } from './layer-config.ts'
import type { LayerFile } from './layer-files.ts'
import type { User } from './layer-rows.ts'

type Shared = Pick<
  Layer,
  'packages' | 'sources' | 'units' | 'users' | 'modules' | 'firmware' | 'bootLines' | 'overlays'
>

/** What all layers together add to the image; later ones come last. */
export interface Layers extends Shared {
  readonly list: readonly Pick<Layer, 'name' | 'version' | 'sha256'>[]
  readonly files: readonly (LayerFile & { readonly layer: string })[]
  /** As in image/data.txt, owners as numbers. */
  readonly data: readonly string[]
  /** `NAME TARGET MODE OWNER:GROUP`, for the provisioning of a card. */
  readonly secrets: readonly string[]
  /** Settings of the agent for all devices, from all layers; undefined when there are none. */
  readonly config: unknown
}

export async function readLayers(folders: readonly string[]): Promise<Layers> {
  const layers: Layer[] = []
  for (const folder of folders) layers.push(await readLayer(folder))
  return mergeLayers(layers)
}

/** Errors: two layers that collide, a name of a user that no layer has. Pure. */
export function mergeLayers(layers: readonly Layer[]): Layers {
  const users = uniqueUsers(layers)
  const ids = new Map([['root', 0], ...users.map(({ name, id }) => [name, id] as const)])
  const problems = (layer: Layer, found: readonly string[]): void => {
    if (found.length > 0) throw new Error(refused(layer.name, found))
  }
  const files = new Map<string, { readonly file: LayerFile; readonly layer: Layer }>()
  const folders = new Set<string>()
  const owners: Record<'name' | 'data' | 'overlays' | 'secrets' | 'setting', Map<string, string>> = {
    name: new Map(),
    data: new Map(),
    overlays: new Map(),
    secrets: new Map(),
    setting: new Map(),
  }
  let config: unknown
  const data: string[] = []
  const secrets: string[] = []
  for (const layer of layers) {
    const found: string[] = []
    const claim = (kind: keyof typeof owners, key: string): void => {
      const earlier = owners[kind].get(key)
      if (earlier !== undefined)
        found.push(kind === 'name' ? `there are two layers with this name` : `${key} is also in layer ${earlier}`)
      owners[kind].set(key, layer.name)
    }
    claim('name', layer.name)
    for (const file of layer.files) {
      const earlier = files.get(file.path)?.layer
      if (earlier && !layer.replaces.includes(file.path))
        found.push(`${file.path} is also in layer ${earlier.name}: name it in "replaces" of layer.json to take it over`)
      for (const folder of foldersOf(file.path)) {
        const inTheWay = files.get(folder)
        if (inTheWay) found.push(`${file.path}: ${folder} is a file in layer ${inTheWay.layer.name}`)
        folders.add(folder)
      }
      if (folders.has(file.path)) found.push(`${file.path} is a folder in another layer`)
      files.set(file.path, { file, layer })
    }
    for (const path of layer.replaces)
      if (
        !layer.files.some(file => file.path === path) ||
        !layers.some(other => other !== layer && other.files.some(file => file.path === path))
      )
        found.push(`layer.json: ${JSON.stringify(path)} replaces nothing`)
    const idOf = (name: string, where: string): number => {
      const id = ids.get(name)
      if (id === undefined) found.push(`${where}: there is no user ${name} in users.txt`)
      return id ?? 0
    }
    for (const row of layer.data) {
      const [mode, owner, group, path] = row.split(' ') as [string, string, string, string]
      claim('data', path)
      // A device makes the folders in this order, and no parent by itself.
      const parent = path.slice(0, Math.max(path.lastIndexOf('/'), 0))
      if (parent !== '' && !data.some(line => line.endsWith(` ${parent}`)))
        found.push(`data.txt: ${path}: its parent ${parent} needs an earlier line`)
      data.push([mode, idOf(owner, 'data.txt'), idOf(group, 'data.txt'), path].join(' '))
    }
    for (const row of layer.secrets) {
      const [name, target, mode, owner] = row.split(' ') as [string, string, string, string]
      claim('secrets', name.toLowerCase())
      // Two files for one place: the card's later one would silently replace the other.
      claim('data', target)
      const folder = target.slice(0, target.lastIndexOf('/'))
      if (!layer.data.some(line => line.endsWith(` ${folder}`)))
        found.push(`secrets.txt: ${name}: there is no folder ${folder} in data.txt`)
      secrets.push([name, target, mode, `${idOf(owner, 'secrets.txt')}:${idOf(owner, 'secrets.txt')}`].join(' '))
    }
    if (layer.config !== undefined) {
      for (const [name] of leavesOf(layer.config)) claim('setting', name)
      config = merged(config, layer.config)
    }
    for (const { path } of layer.overlays) claim('overlays', path.toLowerCase())
    problems(layer, found)
  }
  let hasOverlay = false
  for (const layer of layers) {
    const isThere = (path: string): boolean => owners.overlays.has(path)
    const flaws = overlayFlaws(layer.bootLines.join('\n'), { isThere, nobody: 'no layer has', hasOverlay })
    const lines = flaws.map(flaw => `boot.txt: ${flaw}`)
    problems(layer, lines)
    hasOverlay ||= layer.bootLines.some(line => line.startsWith('dtoverlay='))
  }
  return {
    list: layers.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
    packages: [...new Set(layers.flatMap(layer => layer.packages))],
    sources: layers.flatMap(layer => layer.sources),
    files: [...files.values()].map(({ file, layer }) => ({ ...file, layer: layer.name })),
    units: [...new Set(layers.flatMap(layer => layer.units))],
    users,
    data,
    modules: [...new Set(layers.flatMap(layer => layer.modules))],
    firmware: [...new Set(layers.flatMap(layer => layer.firmware))],
    // A filter such as [pi4] ends with its layer.
    bootLines: layers.flatMap(({ name, bootLines }) =>
      bootLines.length > 0 ? [`# layer ${name}`, ...bootLines, '[all]'] : [],
    ),
    overlays: layers.flatMap(layer => layer.overlays),
    secrets,
    config,
  }
}

function foldersOf(path: string): readonly string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('/'))
}

function uniqueUsers(layers: readonly Layer[]): readonly User[] {
  const users: User[] = []
  for (const layer of layers) {
    for (const user of layer.users) {
      const other = users.find(({ name, id }) => name === user.name || id === user.id)
      if (other)
        throw new Error(
          refused(layer.name, [`users.txt: ${user.name} ${user.id} collides with ${other.name} ${other.id}`]),
        )
      users.push(user)
    }
  }
  return users
}
