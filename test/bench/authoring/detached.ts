import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { measureFile } from './files.ts'
import type { ImportedUpdate, ReferenceDescription } from './manifest.ts'

/**
 * The same update with its manifest in a file, as the service does with big ones: what is signed and sent is a mini
 * manifest that names the file (PROTOCOL.md, "Detached manifest").
 */
export async function detach(update: ImportedUpdate, dir: string, content?: string): Promise<ImportedUpdate> {
  const { provider, name, version } = update.updateId
  const path = await writeManifest(update, dir, content)
  const file = await measureFile(path, `${provider}/${name}/${version}/manifest`)
  const manifest = {
    manifestVersion: JSON.parse(update.manifest).manifestVersion,
    updateId: update.updateId,
    detachedManifestFileId: file.fileId,
    files: {
      [file.fileId]: { fileName: file.fileName, sizeInBytes: file.sizeInBytes, hashes: { sha256: file.sha256 } },
    },
  }
  return { updateId: update.updateId, manifest: JSON.stringify(manifest), files: [...update.files, file] }
}

/** A step of another update that refers to this one; its manifest is written into `dir`, or `content` in its place. */
export async function referenceTo(child: ImportedUpdate, dir: string, content?: string): Promise<ReferenceDescription> {
  return { child, manifestFile: await writeManifest(child, dir, content) }
}

async function writeManifest({ updateId, manifest }: ImportedUpdate, dir: string, content?: string): Promise<string> {
  const { provider, name, version } = updateId
  const path = join(dir, `${provider}.${name}.${version}.updatemanifest.json`)
  await writeFile(path, content ?? JSON.stringify({ updateManifest: manifest }))
  return path
}
