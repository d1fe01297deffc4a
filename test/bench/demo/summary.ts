import { type Paint, seconds, wrap } from './draw.ts'
import type { Scene } from './scene.ts'
import type { DeviceFacts } from './stage.ts'
import type { Check } from './verdict.ts'

const WIDTH = 40

/** What is left to read when it is over: versions, seconds, bytes, and whether all is as it must be. */
export function summary(scene: Scene, facts: DeviceFacts, checks: readonly Check[], paint: Paint): string {
  const row = (name: string, value: string) => `  ${paint('dim', name.padEnd(WIDTH))} ${value}`
  const acts = [...scene.past, { act: scene.act, phases: scene.phases }].flatMap(({ act, phases }) => {
    const played = phases.filter(({ ended, key }) => ended > 0 && key !== 'prepare')
    const rows = played.map(({ title, begun, ended, note }) =>
      row(title, `${seconds(ended - begun).padStart(10)}${note && `  ${paint('yellowBright', note)}`}`),
    )
    return act && rows.length > 0 ? [`  ${paint('bold', act)}`, ...rows] : rows
  })
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`.padStart(10)
  return [
    '',
    row('version before → after', `   1.0.0 → ${facts.version || '?'}`),
    ...acts,
    row('fetched from the content server', megabytes(facts.fetched)),
    row(`written to ${facts.written.where}, as it lies on disk`, megabytes(facts.written.bytes)),
    ...(scene.twin.details ? ['', ...wrap(`The twin: ${scene.twin.details}`, 76).map(line => `  ${line}`)] : []),
    '',
    ...checks.map(({ what, ok, found }) =>
      ok ? `  ${paint('greenBright', '✔')} ${what}` : `  ${paint('redBright', '✘')} ${what}: ${found}`,
    ),
  ].join('\n')
}
