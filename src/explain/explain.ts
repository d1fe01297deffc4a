import { type ErrorCode, EXTENDED_RESULT_CODE, ercText } from '../domain/result-codes.ts'
import { OWN_WORDS } from './own-codes.ts'
import { REFERENCE_COMPONENTS } from './reference-codes.ts'
import { RESULT_WORDS } from './result-codes.ts'
import type { Words } from './words.ts'

/** The explanation of a code; `next` is absent when there is nothing to do. */
export interface Explanation {
  /** As on the wire: eight hexadecimal digits, or a result code in decimal. */
  readonly code: string
  readonly kind: 'result' | 'extended'
  readonly means: string
  readonly next?: string
  /** The reference agent's name for it. */
  readonly symbol?: string
}

/** This agent's codes by number; several failures may share one. */
const OWN: ReadonlyMap<number, readonly Words[]> = (() => {
  const found = new Map<number, Words[]>()
  for (const [name, code] of Object.entries(EXTENDED_RESULT_CODE) as [ErrorCode, number][]) {
    found.set(code, [...(found.get(code) ?? []), OWN_WORDS[name]])
  }
  return found
})()

/** What an operator can do about a code of the reference agent, by the code's prefix. */
const REFERENCE_NEXT: readonly (readonly [begins: RegExp, next: string])[] = [
  [
    /^30[1-5]/,
    'Compare the step in the import manifest with what its handler asks for, and read the result’s details.',
  ],
  [/^30/, 'Check that the device has the handler that the step names.'],
  [/^4/, 'Check URL, hash and network of the file from the device.'],
  [/^7/, 'Check the component enumerator that is registered on the device.'],
  [/^80[34]/, 'Import the update again with a corrected import manifest.'],
  [/^(80[567]|A)/, 'The service publishes root keys and signs deployments: deploy the update again.'],
  [/^9/, 'Delta updates fall back to the whole file; check the source update if that happens often.'],
]
const REFERENCE_LOG = 'Look for the symbol in the log of the agent that reported it.'

/** Ranges that carry the number of another program or library (PROTOCOL.md, "Extended result codes"). */
function carried(code: number): Pick<Explanation, 'means' | 'next'> | undefined {
  const text = ercText(code)
  const low = code & 0xfff
  if (text.startsWith('30101')) {
    if (low === 1) return OWN_WORDS.SWUPDATE_FAILED
    return { means: `SWUpdate, or its script, ended with exit code ${low}`, next: OWN_WORDS.SWUPDATE_FAILED.next }
  }
  if (text.startsWith('30501')) {
    return { means: `the script ended with exit code ${low}`, next: 'Run the script on a device and see why.' }
  }
  if (text.startsWith('40301')) {
    return { means: `curl ended with exit code ${low}`, next: 'curl(1), "EXIT CODES", says what it met.' }
  }
  if (text.startsWith('90A')) return { means: `the diff library failed with ${code & 0xfffff}` }
  if (text.startsWith('D')) {
    return { means: `Delivery Optimization failed with 0x${(code & 0xfffffff).toString(16)}` }
  }
  if (text.startsWith('A01') && (code & 0xfffff) !== 0) {
    const download = explainExtended((0x40000000 | (code & 0xfffff)) >>> 0)
    return {
      means: `the root key package cannot be downloaded: ${download.means}`,
      next: OWN_WORDS.PACKAGE_DOWNLOAD.next,
    }
  }
  return undefined
}

/** `code`: unsigned 32 bits. */
export function explainExtended(code: number): Explanation {
  const text = ercText(code)
  const base = { code: text, kind: 'extended' } as const
  if (code === 0) return { ...base, means: 'nothing to add to the result code' }
  const component = REFERENCE_COMPONENTS.find(({ base }) => text.startsWith(base))
  const symbol = component?.symbols.get(text)
  const named = symbol === undefined ? {} : { symbol }
  const own = OWN.get(code)
  if (own) {
    const next = [...new Set(own.map(each => each.next))].join(' ')
    return { ...base, ...named, means: own.map(({ means }) => means).join(', or '), next }
  }
  const foreign = carried(code)
  if (foreign) return { ...base, ...foreign }
  if (component && symbol) {
    const [, next = REFERENCE_LOG] = REFERENCE_NEXT.find(([begins]) => begins.test(text)) ?? []
    return { ...base, symbol, means: `${component.area}: ${symbol.toLowerCase().replaceAll('_', ' ')}`, next }
  }
  if (text.startsWith('321')) {
    return { ...base, means: 'a code of this agent that this version does not know', next: 'Ask a newer version.' }
  }
  return { ...base, means: `an unknown code${component ? ` of: ${component.area}` : ''}`, next: REFERENCE_LOG }
}

/** `code`: as in `resultCode`. */
export function explainResult(code: number): Explanation {
  const means = RESULT_WORDS[code] ?? (code > 0 ? 'success of an unknown kind' : 'failure of an unknown kind')
  return { code: String(code), kind: 'result', means }
}

/**
 * Explains every code in a pasted text: a number, a line of the log, or the twin's JSON. Eight hexadecimal digits are an
 * extended code. So is a longer decimal number (contracts 1 and 2 write them signed), and a short one is a result code, if
 * it is alone or follows a name that ends with "resultCode" or "result": any other number may count bytes or seconds.
 */
export function explainText(text: string): readonly Explanation[] {
  const found = new Map<string, Explanation>()
  const add = (each: Explanation): void => void found.set(`${each.kind} ${each.code}`, each)
  if (/^\s*-?\d{1,4}\s*$/.test(text)) add(explainResult(Number(text)))
  for (const [, number] of text.matchAll(/(?<!extended)result(?:code)?"?[:= ]+(-?\d{1,4})(?![\dA-Fa-f])/gi)) {
    add(explainResult(Number(number)))
  }
  for (const [hex, digits = ''] of text.matchAll(/(?<![0-9A-Za-z])(?:0x)?([0-9A-Fa-f]{8})(?![0-9A-Za-z-])/g)) {
    // A number such as 20261126 is a date, unless it begins with 0x or that code exists.
    if (/^20[0-9]{6}$/.test(digits) && hex === digits && !isKnown(digits)) continue
    add(explainExtended(Number.parseInt(digits, 16)))
  }
  const decimals = /^\s*(-?\d{5,7}|-?\d{9,10})\s*$|resultcodes?"?[:= ]+"?(-?\d{5,10})(?![\dA-Fa-f])/gi
  for (const [, alone, named] of text.matchAll(decimals)) {
    const number = Number(alone ?? named)
    if (Math.abs(number) < 2 ** 32 && !/^\d{8}$/.test(named ?? '')) add(explainExtended(number >>> 0))
  }
  return [...found.values()]
}

const isKnown = (digits: string): boolean =>
  REFERENCE_COMPONENTS.some(({ symbols }) => symbols.has(digits)) || OWN.has(Number.parseInt(digits, 16))

/** The codes whose explanation or symbol contains every word of `text`. */
export function searchCodes(text: string): readonly Explanation[] {
  const wanted = text
    .toLowerCase()
    .split(/[\s_]+/)
    .filter(Boolean)
  if (wanted.length === 0) return []
  const all = [
    ...[...OWN.keys()].map(explainExtended),
    ...REFERENCE_COMPONENTS.flatMap(({ symbols }) => [...symbols.keys()])
      .map(digits => Number.parseInt(digits, 16))
      .filter(code => !OWN.has(code))
      .map(explainExtended),
    ...Object.keys(RESULT_WORDS).map(code => explainResult(Number(code))),
  ]
  return all.filter(({ means, symbol = '' }) => {
    const words = `${means} ${symbol.replaceAll('_', ' ')}`.toLowerCase()
    return wanted.every(word => words.includes(word))
  })
}
