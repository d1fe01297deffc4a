import { bar } from '../cli/live-view.ts'
import { onOneLine } from '../domain/terminal.ts'
import type { Progress } from './progress.ts'

const SIGN: Record<Progress['phase'], string> = { rest: '·', running: '▸', succeeded: '✔', failed: '✘' }

/** One update in one line. */
export function summary(deviceId: string, { stage, phase, percent, details }: Progress): string {
  const download = percent === undefined || phase !== 'running' ? '' : ` ${percent} %`
  return onOneLine(`${SIGN[phase]} ${deviceId}  ${stage}${download}${details ? `: ${details}` : ''}`)
}

/** One update as a block of lines. */
export function block(deviceId: string, progress: Progress): string[] {
  const { stage, percent, phase, subject, times, details } = progress
  return [
    `${SIGN[phase]} ${deviceId}  ${progress.pattern}  ${stage}`,
    ...(subject === undefined ? [] : [`    ${withoutQuery(subject)}`]),
    ...(phase === 'running' && percent !== undefined ? [`    ${bar(percent)}`] : []),
    ...Object.entries(times).map(([name, time]) => `    ${name.padEnd(22)}${time}`),
    ...(details === undefined ? [] : [`    ${details}`]),
  ]
}

/** The query of a URL is often a key. */
export const withoutQuery = (uri: string): string => uri.replace(/\?.*$/s, '?…')
