import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fetchSmall } from '../../delivery/fetch-small.ts'
import type { OnceDeployment, Workflow } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import type { Ports } from '../../ports/ports.ts'
import { deadline } from '../../timing/deadline.ts'
import {
  DEPLOYMENT_FILE,
  FOLDER_HOSTS,
  fileNameIn,
  filesOf,
  localUpdate,
  MAX_DEPLOYMENT_BYTES,
  placedList,
  readLocalDeployment,
  urlIn,
} from '../../trust/local-deployment.ts'
import type { Place } from '../deployment-verifier.ts'
import type { Loop } from '../once-source.ts'

type Read = Pick<OnceDeployment, 'fingerprint' | 'update' | 'list'>

/** Milliseconds for `deployment.json`, and to look for the other files. */
const READ_WITHIN = 60_000

const NEVER = new AbortController().signal

/** A folder with a signed deployment. */
export class Folder {
  readonly #path: string
  readonly #ports: Pick<Ports, 'content' | 'clock' | 'log'>
  readonly #loop: Pick<Loop, 'verify'>

  /** `path`: absolute. Errors: AgentError `LOCAL_FOLDER`. */
  constructor(path: string, ports: Pick<Ports, 'content' | 'clock' | 'log'>, loop: Pick<Loop, 'verify'>) {
    if (!path.startsWith('/')) throw new AgentError('LOCAL_FOLDER', 'the folder is not given by its absolute path')
    this.#path = path
    this.#ports = ports
    this.#loop = loop
  }

  /** What it asks for, verified. Errors: the refusal's; AgentError `LOCAL_FOLDER`, `LOCAL_FILE`; those of `Loop.verify`. */
  async read(workflow: Workflow, signal: AbortSignal): Promise<Read> {
    const { content } = this.#ports
    const place: Place = {
      hosts: FOLDER_HOSTS,
      content: {
        get: async (url, range, signal) =>
          content.get(this.#at(fileNameIn(url)), { ...range, origin: 'local' }, signal),
      },
    }
    const service = readLocalDeployment(await this.#deployment(place, signal), workflow)
    let deployment = await this.#loop.verify(service, place, signal)
    // This device has seen a newer package since the folder was written, and that one decides.
    if (deployment.kind === 'refuse' && deployment.error.code === 'PACKAGE_OLDER') {
      deployment = await this.#loop.verify({ ...service, rootKeyPackageUrl: null }, place, signal)
    }
    const at = (fileName: string): string => this.#at(fileName)
    const list = placedList(deployment, at)
    const update = localUpdate(list, at)
    return { fingerprint: `local ${deployment.fingerprint}`, update, ...(update.list ? { list } : {}) }
  }

  /** Before anything begins: an incomplete folder costs nothing. The hashes are known only when all of it was read. */
  async mustHave({ update, list }: Read): Promise<void> {
    const files = list ? filesOf(list) : [{ ...update, what: 'the file of the image' }]
    const over = deadline(this.#ports.clock, READ_WITHIN, () => slow(this.#path), NEVER)
    try {
      for (const { url, sizeInBytes, what } of files) {
        const range = { origin: 'local', first: 0, last: 0 } as const
        const { total } = await this.#ports.content.get(url, range, over.signal)
        if (sizeInBytes === undefined || total === sizeInBytes) continue
        throw new AgentError('FILE_SIZE', `${what} has ${total} bytes, not the expected ${sizeInBytes}`)
      }
    } finally {
      over.clear()
    }
  }

  #at(fileName: string): string {
    return pathToFileURL(join(this.#path, fileName)).href
  }

  async #deployment(place: Place, signal: AbortSignal): Promise<Buffer> {
    const options = { maxBytes: MAX_DEPLOYMENT_BYTES, timeout: READ_WITHIN, attempts: 1 }
    try {
      return await fetchSmall({ ...this.#ports, content: place.content }, urlIn(DEPLOYMENT_FILE), options, signal)
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'FILE_SIZE') throw error
      throw new AgentError('LOCAL_FOLDER', `${DEPLOYMENT_FILE} ${error.message}`)
    }
  }
}

export const slow = (what: string): AgentError =>
  new AgentError('LOCAL_FILE', `cannot read ${what}: the medium does not answer`)
