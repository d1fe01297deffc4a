import type { Progress } from './progress.ts'

/** What a command shows while it follows: at each change, in one of three ways. */
export interface View {
  /** `lines` is the whole picture, `change` what is new in it. */
  show(lines: readonly string[], change: string, value: object): void
  /** Passing trouble. */
  trouble(text: string): void
  /** The last picture stays. */
  end(): Promise<void>
}

/** A live picture where stdout is a terminal, a line for each change where it is not, JSON lines with `--json`. */
export async function openView(json: boolean): Promise<View> {
  if (json) return lineView((_, value) => JSON.stringify({ time: new Date().toISOString(), ...value }), true)
  // A terminal that does not know its size, as under some tools, would be shown nothing.
  if (process.stdout.isTTY && process.stdout.rows > 0) {
    const logUpdate = await import('log-update').catch(() => undefined)
    if (logUpdate) return liveView(logUpdate.default)
  }
  return lineView(change => `${new Date().toTimeString().slice(0, 8)}  ${change}`, false)
}

function lineView(line: (change: string, value: object) => string, json: boolean): View {
  let last = ''
  return {
    show(_, change, value) {
      const same = json ? JSON.stringify(value) : change
      if (same !== last) process.stdout.write(`${line(change, value)}\n`)
      last = same
    },
    trouble: text => void process.stderr.write(`${text}\n`),
    end: async () => {},
  }
}

function liveView(update: ((text: string) => void) & { done(): void }): View {
  let picture: readonly string[] = []
  let trouble = ''
  // The clock in the picture goes on between two changes.
  const draw = (): void => update([...picture, ...(trouble ? [trouble] : [])].join('\n'))
  const timer = setInterval(draw, 250)
  return {
    show(lines) {
      picture = lines
      trouble = ''
      draw()
    },
    trouble(text) {
      trouble = text
      draw()
    },
    async end() {
      clearInterval(timer)
      draw()
      update.done()
    },
  }
}

const BAR = 30

/** `██████░░░░  60 %` */
export function bar(percent: number): string {
  const full = Math.round((Math.min(Math.max(percent, 0), 100) / 100) * BAR)
  return `${'█'.repeat(full)}${'░'.repeat(BAR - full)} ${String(Math.round(percent)).padStart(3)} %`
}

const SIGN: Record<Progress['phase'], string> = { rest: '·', running: '▸', succeeded: '✔', failed: '✘' }

/** One update in one line. */
export function summary(deviceId: string, { stage, phase, percent, details }: Progress): string {
  const download = percent === undefined || phase !== 'running' ? '' : ` ${percent} %`
  return `${SIGN[phase]} ${deviceId}  ${stage}${download}${details ? `: ${details}` : ''}`
}

/** One update as a block of lines. */
export function block(deviceId: string, progress: Progress): string[] {
  const { stage, percent, phase, subject, times, details } = progress
  return [
    `${SIGN[phase]} ${deviceId}  ${progress.pattern}  ${stage}`,
    ...(subject === undefined ? [] : [`    ${withoutQuery(subject)}`]),
    ...(stage === 'downloading' && percent !== undefined ? [`    ${bar(percent)}`] : []),
    ...Object.entries(times).map(([name, time]) => `    ${name.padEnd(22)}${time}`),
    ...(details === undefined ? [] : [`    ${details}`]),
  ]
}

/** What comes after the path of a URL is often a key. */
export const withoutQuery = (uri: string): string => uri.replace(/\?.*$/s, '?…')
