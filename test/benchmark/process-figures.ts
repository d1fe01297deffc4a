import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const TICKS = Number(execFileSync('getconf', ['CLK_TCK']))

/** What the kernel has counted for a process (proc(5)). The children it has waited for are in CPU and bytes, not in memory. */
export interface ProcessFigures {
  readonly rssMB: number
  readonly peakMB: number
  readonly cpuSeconds: number
  /** Bytes that were, or will be, written to the storage: dirtied pages, whoever writes them back. */
  readonly writtenBytes: number
}

export function processFigures(pid: number): ProcessFigures {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // After the name in parentheses: utime, stime, cutime, cstime are the 12th to 15th field.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  const written = /^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1]
  return {
    rssMB: megabytes(status, 'VmRSS'),
    peakMB: megabytes(status, 'VmHWM'),
    cpuSeconds: ticks / TICKS,
    writtenBytes: Number(written),
  }
}

function megabytes(status: string, name: string): number {
  const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]
  return (Number(kibibytes) * 1024) / 1e6
}
