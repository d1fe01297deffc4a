import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { ercText } from '../../../src/domain/result-codes.ts'
import type { Verb } from '../../../src/ports/steps.ts'
import { OwnWorker } from '../../../src/steps/own/worker.ts'
import { aService, type Bench } from '../support.ts'

const ID = 'contoso/flasher:1'
const FILE = 'contoso_flasher_1'

/** A step service with one handler of the owner, and `run` for one verb of a signed step that names it. */
export async function withHandler(t: TestContext, handler: string, seconds = 60) {
  const workers = { own: new OwnWorker([10, 10]) }
  const service: Bench = await aService(t, { workers, settings: { limits: { seconds } } })
  const folder = join(service.dir, 'handlers.d')
  await mkdir(folder, { mode: 0o755 })
  // As above the folder on a device.
  await writeFile(join(service.dir, 'package.json'), '{"type":"module"}')
  const settings = JSON.parse(await readFile(service.settings, 'utf8'))
  await writeFile(service.settings, JSON.stringify({ ...settings, handlersFolder: folder }))
  const executable = join(folder, FILE)
  await writeFile(executable, handler, { mode: 0o755 })
  await chmod(executable, 0o755)
  const seen: number[] = []
  const run = async (verb: Verb, properties: object = {}, content = '2\nthe new firmware') => {
    const order = await service.order({ handler: ID, files: { 'fw.bin': content }, properties }, { verb })
    const result = await service.run(order, percent => seen.push(percent))
    if (typeof result === 'string') return result
    return `${result.resultCode} ${ercText(result.extendedResultCode)} ${result.resultDetails}`
  }
  return { service, executable, run, seen }
}
