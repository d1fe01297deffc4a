import { type ErrorCode, EXTENDED_RESULT_CODE, RESULT_CODE } from '../domain/result-codes.ts'
import type { StepResult } from '../domain/step-record.ts'
import { onOneLine } from '../domain/terminal.ts'
import type { Verb } from '../ports/steps.ts'

export const failure = (code: ErrorCode | number, resultDetails: string): StepResult => ({
  resultCode: RESULT_CODE.failure,
  extendedResultCode: typeof code === 'number' ? code : EXTENDED_RESULT_CODE[code],
  resultDetails,
})

/** What a script or handler says of a verb: see `StepResult`. */
export interface Answer {
  /** Any integer of 32 bits, signed: the reference has it so. */
  readonly resultCode: number
  /** Unsigned. */
  readonly extendedResultCode: number
  readonly resultDetails: string
}

/** An answer that cannot be read; the message ends a sentence that begins with what was read. */
export class BadAnswer extends Error {
  override readonly name = 'BadAnswer'
}

/** Reads `{"resultCode":600,"extendedResultCode":0,"resultDetails":""}`. Errors: BadAnswer. */
export function readAnswer(json: unknown): Answer {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new BadAnswer('is not a JSON object')
  const { resultCode, extendedResultCode = 0, resultDetails } = json as Readonly<Record<string, unknown>>
  const [least, most] = [-(2 ** 31), 2 ** 32 - 1]
  const whole = (name: string, value: unknown): number => {
    if (typeof value !== 'number')
      throw new BadAnswer(`has ${name === 'resultCode' ? 'a' : 'an'} ${name} that is not a JSON number`)
    if (!Number.isInteger(value) || value < least || value > most)
      throw new BadAnswer(`has ${name === 'resultCode' ? 'a' : 'an'} ${name} that is not an integer of 32 bits`)
    return value
  }
  return {
    resultCode: whole('resultCode', resultCode) | 0,
    // Scripts write the same 32 bits with and without a sign.
    extendedResultCode: whole('extendedResultCode', extendedResultCode) >>> 0,
    resultDetails: typeof resultDetails === 'string' ? onOneLine(resultDetails.slice(0, MAX_DETAILS)) : '',
  }
}

/** In characters; a report holds fewer. */
const MAX_DETAILS = 2000

/** The plain success of each verb (PROTOCOL.md, "Result codes"). A question has none. */
export const DONE = { download: 500, install: 600, apply: 700, cancel: 800 } as const
const SKIPPED = [603, 604]
/** Reboot now, later; agent restart now, later. */
const WANTS = [5, 6, 7, 8]

/**
 * The code of a verb's success, or undefined if the verb must not give this one. `code`: positive. Any is a success of download,
 * install and apply, as in the reference: by then the effect is there. Published scripts answer with 1, 200 or the success of
 * another action, and ask for a reboot in install and in apply: all that is said in the verb's own codes. A question needs its answer.
 */
export function successOf(verb: Verb, code: number): number | undefined {
  if (verb === 'isInstalled') return code === 900 || code === 901 ? code : undefined
  if (verb === 'cancel') return code === 800 || code === 801 ? code : undefined
  if (verb === 'install' && SKIPPED.includes(code)) return 603
  const wants = code >= 700 ? code - 700 : code - 600
  return verb !== 'download' && WANTS.includes(wants) ? DONE[verb] + wants : DONE[verb]
}

/** The end of what a program printed, for a sentence: its last lines that are not empty. */
export function lastWords(tail: string, most = 300): string {
  const lines = tail.split('\n').filter(line => line.trim() !== '')
  return onOneLine(lines.slice(-3).join('; ')).trim().slice(-most)
}
