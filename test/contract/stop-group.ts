import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Stops the process group of `leader`, and waits until each thread of the leader stands still: the kernel wakes one thread with the
 * signal, and on a busy machine the others run on for a while.
 */
export async function stopGroup(leader: number): Promise<void> {
  process.kill(-leader, 'SIGSTOP')
  for (;;) {
    const threads = await readdir(`/proc/${leader}/task`)
    const stats = await Promise.all(
      threads.map(thread => readFile(`/proc/${leader}/task/${thread}/stat`, 'latin1').catch(() => '')),
    )
    if (stats.every(stat => stat === '' || /\) T /.test(stat))) return
    await sleep(5)
  }
}
