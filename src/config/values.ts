import { createPublicKey } from 'node:crypto'
import * as v from 'valibot'
import { HOST_FORMS, isHostEntry } from '../domain/hosts.ts'
import { section } from './setting.ts'

/** Types of settings, each with a message for a wrong value. */

export const text = v.pipe(v.string('must be a text'), v.nonEmpty('must not be empty'))
export const path = v.pipe(text, v.startsWith('/', 'must be an absolute path'))
export const number = (least: number, most: number) => {
  const range = `must be a number from ${least} to ${most}`
  return v.pipe(v.number(range), v.minValue(least, range), v.maxValue(most, range))
}
export const whole = (least: number, most: number) => {
  const range = `must be a whole number from ${least} to ${most}`
  return v.pipe(v.number(range), v.integer(range), v.minValue(least, range), v.maxValue(most, range))
}
export const seconds = number(0.01, 86_400)
/** The image's trial guard ends a trial 20 minutes after power-on; the agent must decide earlier. */
export const trialSeconds = v.pipe(seconds, v.maxValue(1000, 'must be at most 1000: a trial is ended after 20 minutes'))
export const flag = v.boolean('must be true or false')
export const command = v.tupleWithRest([text], text, 'must be a list: the program, then its arguments')
export const hosts = v.array(
  v.pipe(v.string('must be a text'), v.check(isHostEntry, `${HOST_FORMS}, in small letters`)),
  'must be a list',
)
const base64url = v.pipe(text, v.regex(/^[\w-]+$/, 'must be base64url'))

const MIN_ROOT_KEY_BITS = 2048
export const rootKey = v.pipe(
  section({ kid: text, n: base64url, e: base64url }),
  v.check(({ n, e }) => rsaBits(n, e) >= MIN_ROOT_KEY_BITS, `must be an RSA key of at least ${MIN_ROOT_KEY_BITS} bits`),
)

/** 0 if it is not a key. */
function rsaBits(n: string, e: string): number {
  try {
    return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' }).asymmetricKeyDetails?.modulusLength ?? 0
  } catch {
    return 0
  }
}
