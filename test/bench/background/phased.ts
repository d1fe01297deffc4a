import { basename } from 'node:path'
import { ercText, RESULT_CODE } from '../../../src/domain/result-codes.ts'
import { contract2021 } from '../../../src/sources/contract-2021/contract.ts'
import type { End2021 } from '../authoring/contract-2021.ts'
import type { ImportedUpdate } from '../authoring/manifest.ts'
import type { Bench } from '../bench.ts'
import type { Orchestrated } from '../orchestrate.ts'

type FileUrls = Readonly<Record<string, string>>

const RESULT: Readonly<Record<End2021, number>> = {
  applied: RESULT_CODE.applied,
  failed: RESULT_CODE.failure,
  cancelled: RESULT_CODE.cancelled,
}

/** The updates that this bench orders phase by phase, one for each device on the contract of 2021. */
export class PhasedUpdates {
  readonly #bench: Bench
  readonly #running = new Map<string, { readonly name: string; readonly update: Orchestrated }>()
  #count = 0

  constructor(bench: Bench) {
    this.#bench = bench
  }

  /** Whether the device connected last with the model of that contract. */
  takes = (id: string): boolean => this.#bench.hub.getTwin(id).modelId === contract2021.modelId

  /** Returns a name for the update; the contract has none. `urls`: where the device finds the files. */
  async deploy(
    id: string,
    file: string,
    version: string,
    urls?: (update: ImportedUpdate) => FileUrls,
  ): Promise<string> {
    this.#running.get(id)?.update.stop()
    const imported = await this.#bench.importBundle(file, version, {
      manifestVersion: '2.0',
      steps: [{ handler: 'microsoft/swupdate:1', files: [file], handlerProperties: { installedCriteria: version } }],
    })
    const name = `${basename(file)}#${++this.#count}`
    const options = urls ? { fileUrls: urls(imported) } : {}
    this.#running.set(id, { name, update: this.#bench.orchestrate(id, imported, options) })
    return name
  }

  /** In the form of today's report. */
  async result(id: string): Promise<object> {
    const { update } = this.#of(id)
    const end = await update.ended
    const { state = 0, extendedResultCode = 0 } = update.cloud.failure ?? {}
    const codes = { resultCode: RESULT[end], extendedResultCodes: ercText(extendedResultCode), resultDetails: end }
    return { state, lastInstallResult: codes }
  }

  /** Returns the name of what is cancelled. */
  cancel(id: string): string {
    const { name, update } = this.#of(id)
    update.cancel()
    return name
  }

  #of(id: string) {
    const found = this.#running.get(id)
    if (!found) throw new Error(`nothing is deployed to ${id} since this bench was started`)
    return found
  }
}
