import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { settings } from '../../src/config/config.ts'
import { VARIABLES } from '../../src/config/proxies.ts'
import { type ErrorCode, EXTENDED_RESULT_CODE, ercText } from '../../src/domain/result-codes.ts'
import { OWN_WORDS } from '../../src/explain/own-codes.ts'
import { patternsTable } from './lights-picture.ts'

/** A page with a table between two marks that is made from the code. */
export interface MadePage {
  readonly path: string
  readonly mark: string
  readonly table: () => string
}

export const PAGES: readonly MadePage[] = [
  { path: join(repositoryRoot(), 'src/config/README.md'), mark: 'settings', table: settingsTable },
  { path: join(repositoryRoot(), 'src/domain/README.md'), mark: 'codes', table: codesTable },
  { path: join(repositoryRoot(), 'src/lights/README.md'), mark: 'patterns', table: patternsTable },
]

/** The page as the code wants it. */
export function currentPage({ path, mark, table }: MadePage, page = readFileSync(path, 'utf8')): string {
  const between = new RegExp(`(<!-- ${mark} -->\\n).*(<!-- /${mark} -->)`, 's')
  if (!between.test(page)) throw new Error(`${path} has no marks "${mark}"`)
  return page.replace(between, (_, before, after) => `${before}${table()}${after}`)
}

function settingsTable(): string {
  const rows = [
    ...settings().map(({ name, fallback, doc }) => [name, doc.otherwise ?? defaultText(fallback), doc.meaning]),
    ...VARIABLES.map(({ name, meaning }) => [name, 'none', meaning]),
  ]
  const lines = rows.map(([name, fallback, meaning]) => `| \`${name}\` | ${fallback} | ${meaning} |\n`)
  return `| setting | default | meaning |\n|---|---|---|\n${lines.join('')}`
}

function defaultText(value: unknown): string {
  if (value === undefined) return 'must be set'
  if (Array.isArray(value) && value.length === 0) return 'none'
  if (typeof value === 'string') return `\`${value}\``
  return typeof value === 'object' ? `\`${JSON.stringify(value).replaceAll('","', '", "')}\`` : String(value)
}

/** Our own codes; those of the reference agent are in its documentation. */
function codesTable(): string {
  const codes = Object.entries(EXTENDED_RESULT_CODE) as [ErrorCode, number][]
  const own = codes
    .map(([name, code]) => [ercText(code), OWN_WORDS[name]] as const)
    .filter(([code]) => code.startsWith('321'))
  const rows = own.map(([code, { means, next }]) => `| \`${code}\` | ${means} | ${next} |\n`)
  return `| code | meaning | what to do |\n|---|---|---|\n${rows.join('')}`
}
