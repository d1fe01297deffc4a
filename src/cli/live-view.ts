import { jsonText, lineByLine, onOneLine } from '../domain/terminal.ts'

/** What a command shows while it follows something, in one of three ways. */
export interface LiveView {
  /** `lines` is the whole picture, `change` only what is new. */
  show(lines: readonly string[], change: string, value: object): void
  /** A transient failure. */
  trouble(text: string): void
  /** Leaves the last picture on the screen. */
  end(): Promise<void>
}

/** A live picture on a terminal, otherwise a line per change; JSON lines with `--json`. */
export async function openView(json: boolean): Promise<LiveView> {
  if (json) return lineView((_, value) => jsonText({ time: new Date().toISOString(), ...value }), true)
  // Some tools give a terminal without a size; it would show nothing.
  if (process.stdout.isTTY && process.stdout.rows > 0) {
    const logUpdate = await import('log-update').catch(() => undefined)
    if (logUpdate) return liveView(logUpdate.default)
  }
  return lineView(change => `${new Date().toTimeString().slice(0, 8)}  ${lineByLine(change)}`, false)
}

function lineView(line: (change: string, value: object) => string, json: boolean): LiveView {
  let last = ''
  return {
    show(_, change, value) {
      const same = json ? JSON.stringify(value) : change
      if (same !== last) process.stdout.write(`${line(change, value)}\n`)
      last = same
    },
    trouble: text => void process.stderr.write(`${onOneLine(text)}\n`),
    end: async () => {},
  }
}

function liveView(update: ((text: string) => void) & { done(): void }): LiveView {
  let picture: readonly string[] = []
  let trouble = ''
  // The clock in the picture keeps running between changes.
  const draw = (): void => update([...picture, ...(trouble ? [trouble] : [])].join('\n'))
  const timer = setInterval(draw, 250)
  return {
    show(lines) {
      picture = lines.map(onOneLine)
      trouble = ''
      draw()
    },
    trouble(text) {
      trouble = onOneLine(text)
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
