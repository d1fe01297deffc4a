import { spawn } from 'node:child_process'
import { open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { deviceFolder } from '../workbench/device-folder.ts'
import { pullPlug, readPower } from '../workbench/power-file.ts'
import { isAlive, type ProcessIdentity } from '../workbench/processes.ts'
import { ask, NoBench } from './control.ts'
import type { BenchFacts } from './facts.ts'
import { type Place, runningBench } from './place.ts'

const START_MS = 120_000
const END_MS = 15_000

/** Starts the bench unless it runs, and returns when its device is connected. The current folder is the state folder. */
export async function startInBackground(
  place: Place,
  program: string,
): Promise<{ facts: BenchFacts; started: boolean }> {
  const there = await facts()
  if (there) return { facts: there, started: false }
  const log = await open(place.log, 'w')
  // A session of its own: it survives the shell, and a Ctrl-C there is not meant for it.
  const child = spawn(process.execPath, [program, 'serve', '--state', place.dir], {
    cwd: place.dir,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  })
  await log.close()
  child.unref()
  for (const limit = Date.now() + START_MS; Date.now() < limit; await sleep(50)) {
    const ready = await facts()
    if (ready) return { facts: ready, started: true }
    // One that ends may have lost against another `up`, whose bench is then ours too.
    if (child.exitCode !== null && !(await runningBench(place))) break
  }
  const words = (await readFile(place.log, 'utf8')).trim().split('\n').slice(-8).join('\n')
  if (child.exitCode === null) child.kill('SIGTERM')
  throw new Error(`the bench did not start; its last words (${place.log}):\n${words}`)
}

/** The running bench's; undefined when none runs, or one is not ready yet. */
export async function facts(): Promise<BenchFacts | undefined> {
  try {
    return await ask<BenchFacts>('status')
  } catch (error) {
    if (error instanceof NoBench) return undefined
    throw error
  }
}

/** Ends the bench and its devices: no process of theirs is left when this returns. False: nothing ran. */
export async function stopInBackground(place: Place): Promise<boolean> {
  const bench = await runningBench(place)
  if (bench) await ended(bench)
  // A bench that was killed takes its devices with it, but they need a moment.
  for (const id of await readdir(place.devices).catch(() => [])) {
    const power = await readPower(deviceFolder(join(place.devices, id)))
    if (power) await pullPlug(power)
  }
  return bench !== undefined
}

async function ended(bench: ProcessIdentity): Promise<void> {
  process.kill(bench.pid, 'SIGTERM')
  for (const limit = Date.now() + END_MS; isAlive(bench); await sleep(20)) {
    if (Date.now() > limit) process.kill(bench.pid, 'SIGKILL')
  }
}
