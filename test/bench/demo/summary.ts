import { onOneLine } from '../../../src/domain/terminal.ts'
import { type Paint, seconds, wrap } from './draw.ts'
import { mib, type Scene } from './scene.ts'
import type { DeviceFacts } from './stage.ts'
import type { Check } from './verdict.ts'

const WIDTH = 54

/** The summary at the end: versions, seconds, bytes, and the verdict. */
export function summary(scene: Scene, facts: DeviceFacts, checks: readonly Check[], paint: Paint): string {
  const row = (name: string, value: string) => `  ${paint('dim', name.padEnd(WIDTH))} ${value}`
  const acts = [...scene.past, { act: scene.act, phases: scene.phases }].flatMap(({ act, phases }) => {
    const played = phases.filter(({ ended, key }) => ended > 0 && key !== 'prepare')
    const rows = played.map(({ title, begun, ended, note }) =>
      row(title, `${seconds(ended - begun).padStart(10)}${note && `  ${paint('yellowBright', onOneLine(note))}`}`),
    )
    return act && rows.length > 0 ? [`  ${paint('bold', act)}`, ...rows] : rows
  })
  const size = (bytes: number) => `${mib(bytes)} MiB`.padStart(10)
  return [
    '',
    row('version before → after', `   1.0.0 → ${onOneLine(facts.version || '?')}`),
    ...acts,
    row('fetched from the content server', size(facts.fetched)),
    row(`written to ${facts.written.where}, as it lies on disk`, size(facts.written.bytes)),
    ...(scene.twin.details ? ['', ...wrap(`The twin: ${scene.twin.details}`, 76).map(line => `  ${line}`)] : []),
    '',
    ...verdictLines(checks, paint),
  ].join('\n')
}

export const verdictLines = (checks: readonly Check[], paint: Paint): string[] =>
  checks.map(({ what, ok, found }) =>
    ok ? `  ${paint('greenBright', '✔')} ${what}` : `  ${paint('redBright', '✘')} ${what}: ${onOneLine(found)}`,
  )
