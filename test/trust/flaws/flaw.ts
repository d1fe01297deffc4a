import { generateKeyPairSync } from 'node:crypto'
import type { Keys, Recipe } from '../../bench/authoring/recipe.ts'

/** One thing that is wrong with a deployment that is right in all else. */
export interface Flaw {
  readonly name: string
  readonly change: (keys: Keys) => Partial<Recipe>
  /** What the twin shows. */
  readonly code: string
  readonly verdict?: 'refuse' | 'ignore'
  /** The detached manifests that can be fetched. */
  readonly detached?: readonly Buffer[]
  /** Whether signature and hash are right all the same. */
  readonly authentic?: boolean
}

const key = (kid: string, modulusLength: number) => ({
  kid,
  privateKey: generateKeyPairSync('rsa', { modulusLength }).privateKey,
})

export const newKeys = (): Keys => ({
  roots: [key('TEST.1.R', 2048), key('TEST.2.R', 2048)],
  signing: key('TEST.1.R.S', 2048),
  stranger: key('STRANGER', 2048),
  short: key('TEST.SHORT.S', 1024),
})

/** `text` with one character of the part's middle exchanged. */
export function flipped(text: string, part = 2): string {
  const parts = text.split('.')
  const old = parts[part] ?? ''
  const at = Math.floor(old.length / 2)
  parts[part] = `${old.slice(0, at)}${old[at] === 'A' ? 'B' : 'A'}${old.slice(at + 1)}`
  return parts.join('.')
}
