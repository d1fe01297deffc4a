import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { FileStats } from '../bench/content/content-server.ts'
import type { Faults } from '../bench/content/faults.ts'

/** The content servers of a rig, in their own process. */
export interface ContentProcess {
  /** For races. */
  url(path: string): string
  /** As `url`, at the rate of gigabit Ethernet. */
  gigabitUrl(path: string): string
  /** Of the server that counts, and has the faults that are set. */
  faultyUrl(path: string): string
  setFaults(faults: Faults): Promise<void>
  stats(): Promise<Record<string, FileStats>>
  stop(): Promise<void>
}

export async function startContentProcess(dir: string, certificates: string): Promise<ContentProcess> {
  const child = fork(fileURLToPath(new URL('serve.js', import.meta.url)), [dir, certificates])
  const origin = (await answer(child)) as Record<'faulty' | 'fast' | 'gigabit', string>
  const under = (base: string) => (path: string) => base + path.split('/').map(encodeURIComponent).join('/')
  const ask = async (message: object | 'stats') => {
    const answered = answer(child)
    child.send(message)
    return answered
  }
  return {
    url: under(origin.fast),
    gigabitUrl: under(origin.gigabit),
    faultyUrl: under(origin.faulty),
    setFaults: async faults => void (await ask({ faults })),
    stats: async () => ((await ask('stats')) as { stats: Record<string, FileStats> }).stats,
    async stop() {
      const ended = once(child, 'exit')
      child.disconnect()
      await ended
    },
  }
}

async function answer(child: ChildProcess): Promise<unknown> {
  const done = new AbortController()
  const { signal } = done
  try {
    return await Promise.race([
      once(child, 'message', { signal }).then(([message]) => message),
      once(child, 'exit', { signal }).then(([code]) => {
        throw new Error(`the content server ended with exit code ${code}`)
      }),
    ])
  } finally {
    done.abort()
  }
}
