import { readFile } from 'node:fs/promises'

/** A part of the system that its owner has added to the image. */
export interface InstalledLayer {
  readonly name: string
  readonly version: string
}

/** The layers that the image builder has listed in `file`, in their order; none when there is no such list. Never rejects. */
export async function readInstalledLayers(file: string): Promise<readonly InstalledLayer[]> {
  try {
    const list: unknown = JSON.parse(await readFile(file, 'utf8'))
    return Array.isArray(list) ? list.filter(isLayer).map(({ name, version }) => ({ name, version })) : []
  } catch {
    return []
  }
}

function isLayer(value: unknown): value is InstalledLayer {
  const { name, version } = (value ?? {}) as Record<string, unknown>
  return typeof name === 'string' && typeof version === 'string'
}
