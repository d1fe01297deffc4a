import { type Effective, effective } from '../config/effective.ts'
import { load } from '../config/files.ts'
import { onOneLine } from '../domain/terminal.ts'
import { readCheckedConfig, readConfigOrShow } from './refusal.ts'

export interface CheckOptions {
  readonly config: string
  /** Also shows a refusal on the lights. */
  readonly light: boolean
  readonly show: boolean
  readonly json: boolean
}

/** `pi-adu check-config`: whether the agent would run with a file, and with which settings. Errors: ConfigError. */
export async function checkConfig({ config: file, light, show, json }: CheckOptions): Promise<void> {
  const config = await (light ? readConfigOrShow : readCheckedConfig)(file)
  for (const why of config.warnings) process.stderr.write(`pi-adu: warning: ${onOneLine(why)}\n`)
  if (!show && !json) return
  const rows = effective(config, await load(file))
  process.stdout.write(json ? asJson(rows) : asText(rows))
}

const asJson = (rows: readonly Effective[]): string => {
  const lines = rows.map(
    ({ name, json = 'null', isDefault }) => `  ${JSON.stringify(name)}: {"value":${json},"default":${isDefault}}`,
  )
  return `{\n${lines.join(',\n')}\n}\n`
}

function asText(rows: readonly Effective[]): string {
  const width = Math.max(...rows.map(({ name }) => name.length))
  const lines = rows.map(({ name, json, isDefault, otherwise = 'none' }) => {
    const value = json ?? (otherwise === 'none' ? 'not set' : `not set: ${otherwise}`)
    return `${name.padEnd(width)}  ${value}${isDefault ? '  (default)' : ''}\n`
  })
  return lines.join('')
}
