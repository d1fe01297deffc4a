import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { ScriptWork } from '../../domain/deployment.ts'
import { messageOf } from '../../domain/errors.ts'
import { RESULT_CODE } from '../../domain/result-codes.ts'
import type { StepResult } from '../../domain/step-record.ts'
import { resultFileOf } from '../../handlers/script/script.ts'
import type { Verb } from '../../ports/steps.ts'
import { type Answer, BadAnswer, failure } from '../answer.ts'
import { removePaths } from '../remove.ts'
import type { Job, Worker } from '../worker.ts'
import { DEVICE_FILE, DeviceFileError, deviceWords } from './device-file.ts'
import { outcomeOf } from './outcome.ts'
import { readResultFile } from './result-file.ts'
import { actionOf, wordsOf } from './words.ts'

/** For a question and for a cancel; the other verbs have the time of the settings. In milliseconds. */
const SHORT = 120_000

/** Runs the script of a step (PROTOCOL.md, "Script contract"). */
export class ScriptWorker implements Worker<ScriptWork> {
  readonly #deviceFile: string

  /** `deviceFile`: words of the device for `microsoft/swupdate:2`. */
  constructor(deviceFile: string = DEVICE_FILE) {
    this.#deviceFile = deviceFile
  }

  async run(verb: Verb, job: Job<ScriptWork>, signal: AbortSignal): Promise<StepResult> {
    const { work, plan, component, folder, runAs } = job
    const handler = work.swuFileName === undefined ? 'script' : 'swupdate'
    const action = actionOf(verb)
    const resultFile = join(folder, resultFileOf(work, action))
    let ofDevice: readonly string[] = []
    try {
      if (handler === 'swupdate') ofDevice = await deviceWords(this.#deviceFile)
    } catch (error) {
      if (!(error instanceof DeviceFileError)) throw error
      return failure('SWU_SCRIPT_CONFIG', error.message)
    }
    const { installedCriteria } = plan
    const call = { work, action, workFolder: folder, resultFile, ofDevice }
    const words = wordsOf({
      ...call,
      ...(installedCriteria === undefined ? {} : { installedCriteria }),
      ...(component ? { component } : {}),
    })
    // What an earlier call wrote would be taken for the answer of this one.
    await removePaths(resultFile)
    const launched = await job.launch([...(await programOf(join(folder, work.script.fileName))), ...words], {
      signal,
      ...(verb === 'isInstalled' || verb === 'cancel' ? { timeout: SHORT } : {}),
      // A script that root runs is there to change the system.
      ...(runAs === undefined ? { writes: 'system' } : { user: runAs, writes: 'folder' }),
    })
    if (signal.aborted) {
      return { resultCode: RESULT_CODE.cancelled, extendedResultCode: 0, resultDetails: 'the script was cancelled' }
    }
    return outcomeOf(verb, handler, launched, await answerIn(resultFile))
  }
}

async function answerIn(path: string): Promise<Answer | BadAnswer> {
  try {
    return await readResultFile(path)
  } catch (error) {
    return error instanceof BadAnswer ? error : new BadAnswer(messageOf(error))
  }
}

/** A text without `#!` is for the shell, as execvp(3) has it: the system alone would not start it. */
async function programOf(script: string): Promise<[string, ...string[]]> {
  const file = await open(script)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0)
    const begin = buffer.toString('latin1', 0, bytesRead)
    return begin.startsWith('#!') || begin === '\x7fELF' ? [script] : ['/bin/sh', script]
  } finally {
    await file.close()
  }
}
