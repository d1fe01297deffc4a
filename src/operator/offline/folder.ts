import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import * as http from 'node:http'
import * as https from 'node:https'
import { join } from 'node:path'
import * as v from 'valibot'
import type { FileEntity } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import { isObject, member } from '../../domain/members.ts'
import { files, readFiles } from '../../trust/files.ts'
import { JsonError, readJson } from '../../trust/json.ts'
import { DEPLOYMENT_FILE } from '../../trust/local-deployment.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { writeAll } from '../write-all.ts'

/** Milliseconds without a byte. */
const STALL = 60_000

/** The service's own is a few kilobytes. */
const MAX_PACKAGE = 1 << 20

const PACKAGE_FILE = 'rootkeypackage.json'
const NEW = `${DEPLOYMENT_FILE}.new`
const OURS: readonly string[] = [DEPLOYMENT_FILE, NEW, PACKAGE_FILE]

export interface Offline {
  readonly folder: string
  readonly files: readonly string[]
  readonly bytes: number
}

/** Manifests in one another: a mini manifest, the manifest that it names, and those of its parts. */
const MAX_DEPTH = 3

/**
 * Writes the folder that devices take: every file of the deployment and of the manifests that it names, checked against its signed size and hash, and last of all
 * `deployment.json`; an earlier one goes first, so that no device takes a folder whose files are being written. `service`: `deviceUpdate.service` as the twin has it. The signature itself is checked by the device.
 * `ca`: an authority, PEM, instead of Node's list. Errors: Failure.
 */
export async function writeOffline(service: unknown, folder: string, ca?: string): Promise<Offline> {
  const text = member(service, 'updateManifest')
  const signature = member(service, 'updateManifestSignature')
  if (typeof text !== 'string' || typeof signature !== 'string') {
    throw new Failure(EXIT.failed, 'there is no deployment: updateManifest or updateManifestSignature is missing')
  }
  const signed = manifestIn(text)
  const entities = entitiesOf(signed)
  await mkdir(folder, { recursive: true }).catch(cause => {
    throw new Failure(EXIT.unavailable, `cannot make ${folder}: ${messageOf(cause)}`, { cause })
  })
  const last = join(folder, DEPLOYMENT_FILE)
  const cannotWrite = (cause: unknown): never => {
    throw new Failure(EXIT.unavailable, `cannot write ${last}: ${messageOf(cause)}`, { cause })
  }
  await rm(last, { force: true })
    .then(() => sync(folder))
    .catch(cannotWrite)
  const urls = member(service, 'fileUrls')
  const names: Record<string, string> = {}
  let bytes = 0
  const fetchAll = async (wanted: readonly FileEntity[]): Promise<void> => {
    for (const { fileId, fileName, sizeInBytes, sha256 } of wanted) {
      if (names[fileId] !== undefined) continue
      const name = freeName(fileName, [...Object.values(names), ...OURS])
      const url = member(urls, fileId)
      if (typeof url !== 'string') throw new Failure(EXIT.failed, `the deployment has no URL for ${fileName}`)
      const hash = await download(url, join(folder, name), sizeInBytes, ca)
      if (hash.size !== sizeInBytes || !hash.sha256.equals(sha256)) {
        await rm(join(folder, name), { force: true })
        throw new Failure(EXIT.failed, `${fileName} is not the file that was signed: its size or hash is another`)
      }
      names[fileId] = name
      bytes += sizeInBytes
    }
  }
  const fetchTree = async (manifest: unknown, wanted: readonly FileEntity[], depth: number): Promise<void> => {
    await fetchAll(wanted)
    for (const id of detachedIn(manifest)) {
      const name = names[id]
      if (name === undefined || depth === MAX_DEPTH) continue
      const inner = detachedManifest(await readFile(join(folder, name), 'utf8'), name)
      await fetchTree(inner, entitiesOf(inner), depth + 1)
    }
  }
  await fetchTree(signed, entities, 1)
  const packageUrl = member(service, 'rootKeyPackageUrl')
  if (typeof packageUrl === 'string') await download(packageUrl, join(folder, PACKAGE_FILE), MAX_PACKAGE, ca)
  const deployment = {
    updateManifest: text,
    updateManifestSignature: signature,
    fileUrls: names,
    ...(typeof packageUrl === 'string' ? { rootKeyPackageUrl: PACKAGE_FILE } : {}),
  }
  // Last: a device that watches the folder begins when it is there.
  const work = join(folder, NEW)
  await writeFile(work, `${JSON.stringify(deployment, null, 2)}\n`, { flush: true })
    .then(() => rename(work, last))
    .then(() => sync(folder))
    .catch(cannotWrite)
  return { folder, files: Object.values(names), bytes }
}

async function sync(folder: string): Promise<void> {
  const handle = await open(folder)
  await handle.sync().finally(() => handle.close())
}

/** Steps may have files of one name: the device finds each by its id. */
function freeName(fileName: string, taken: readonly string[]): string {
  // Sticks have file systems for which large and small letters are the same.
  const isTaken = (name: string): boolean => taken.some(each => each.toLowerCase() === name.toLowerCase())
  let name = fileName
  for (let count = 2; isTaken(name); count++) name = `${count}-${fileName}`
  return name
}

/** Ids of the files in which `manifest` names further manifests. */
function detachedIn(manifest: unknown): readonly string[] {
  const steps = member(member(manifest, 'instructions'), 'steps')
  const all = [manifest, ...(Array.isArray(steps) ? steps : [])]
  return all.map(each => member(each, 'detachedManifestFileId')).filter(id => typeof id === 'string')
}

/** Its hash is the signed one. */
function detachedManifest(text: string, name: string): Record<string, unknown> {
  try {
    const outer = readJson(text)
    const inner = member(outer, 'updateManifest')
    const manifest = typeof inner === 'string' ? readJson(inner) : outer
    if (isObject(manifest)) return manifest
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
  }
  throw new Failure(EXIT.failed, `${name} does not hold an update manifest`)
}

function manifestIn(text: string): Record<string, unknown> {
  try {
    const manifest = readJson(text)
    if (isObject(manifest)) return manifest
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
  }
  throw new Failure(EXIT.failed, 'the update manifest is not a JSON object')
}

function entitiesOf(manifest: unknown): readonly FileEntity[] {
  const found = v.safeParse(files, member(manifest, 'files'))
  if (!found.success) throw new Failure(EXIT.failed, 'the update manifest has no usable list of files')
  try {
    return [...readFiles(found.output).values()]
  } catch (error) {
    if (error instanceof AgentError) throw new Failure(EXIT.failed, error.message, { cause: error })
    throw error
  }
}

/** Stops at the first byte above `most`. */
async function download(url: string, path: string, most: number, ca: string | undefined) {
  const file = await open(path, 'w').catch(cause => {
    throw new Failure(EXIT.unavailable, `cannot write ${path}: ${messageOf(cause)}`, { cause })
  })
  const hash = createHash('sha256')
  let size = 0
  try {
    for await (const piece of await get(url, ca)) {
      if (size + piece.length > most) throw new Error(`it has more than ${most} bytes`)
      hash.update(piece)
      await writeAll(file, piece, size)
      size += piece.length
    }
    await file.sync()
    return { size, sha256: hash.digest() }
  } catch (cause) {
    await rm(path, { force: true })
    throw new Failure(EXIT.unavailable, `cannot get ${path.split('/').at(-1)}: ${messageOf(cause)}`, { cause })
  } finally {
    await file.close()
  }
}

function get(url: string, ca: string | undefined): Promise<AsyncIterable<Buffer>> {
  return new Promise((resolve, reject) => {
    const { get } = url.startsWith('https:') ? https : http
    const request = get(url, { timeout: STALL, ...(ca === undefined ? {} : { ca }) }, answer => {
      if (answer.statusCode === 200) return resolve(answer)
      answer.resume()
      reject(new Error(`the server answered ${answer.statusCode}`))
    })
    request.on('timeout', () => request.destroy(new Error('the server has stopped answering')))
    request.on('error', reject)
  })
}
