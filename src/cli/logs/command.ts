import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { describe, Program } from '../../adapters/system/program.ts'
import { readConfig } from '../../config/config.ts'
import { ConfigError, messageOf, UsageError } from '../../domain/errors.ts'
import { redact } from '../../domain/redact.ts'
import { onOneLine } from '../../domain/terminal.ts'
import { examine } from '../doctor/command.ts'
import { upTo, writeArchive } from './archive.ts'
import { agentLog, contents, type Sources } from './contents.ts'
import { linesOf } from './pieces.ts'

export interface LogsOptions {
  readonly config: string
  /** In the form of journalctl(1). */
  readonly since?: string
  /** The support bundle's file; `-` for stdout. */
  readonly bundle?: string
  /** MiB of the bundle before compression. */
  readonly limit: number
}

/**
 * `pi-adu logs`: prints the agent's log, or writes a support bundle. Errors: UsageError if the file cannot be written or there
 * is no system journal.
 */
export async function logs({ config: file, since, bundle, limit }: LogsOptions): Promise<void> {
  if (bundle === undefined) return print(since)
  const config = await readConfig(file).catch(error => {
    if (error instanceof ConfigError) return error
    throw error
  })
  const now = new Date()
  const sources = { configFile: file, config, since, findings: examine(file), now }
  if (bundle === '-') {
    if (process.stdout.isTTY) throw new UsageError('a support bundle is binary: redirect it to a file')
    await writeArchive(upTo(limit << 20, contents(sources)), nameAt(now), process.stdout, now)
    return
  }
  const { entries, bytes } = await toFile(bundle, limit, sources)
  process.stderr.write(`${bundle}: ${entries} files, ${Math.ceil(bytes / 1024)} KiB\n`)
}

/** Writes beside `file`, and renames at the end, so `file` is never incomplete. */
async function toFile(
  file: string,
  limit: number,
  sources: Sources,
): Promise<{ readonly entries: number; readonly bytes: number }> {
  const part = `${file}.part`
  try {
    const handle = await open(part, 'w', 0o600)
    const out = createWriteStream('', { fd: handle, flush: true })
    const entries = await writeArchive(upTo(limit << 20, contents(sources)), nameAt(sources.now), out, sources.now)
    await rename(part, file)
    return { entries, bytes: out.bytesWritten }
  } catch (error) {
    await rm(part, { force: true }).catch(() => {})
    throw new UsageError(`the support bundle ${file} cannot be written: ${messageOf(error)}`)
  }
}

const nameAt = (now: Date): string => `pi-adu-${now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}`

async function print(since: string | undefined): Promise<void> {
  const program = new Program(agentLog(since), { signal: new AbortController().signal, readSlowly: true })
  for await (const line of linesOf(program.stdout)) {
    if (!process.stdout.write(`${onOneLine(redact(line))}\n`)) await once(process.stdout, 'drain')
  }
  const ending = await program.ended
  if (ending.exitCode !== 0) throw new UsageError(`journalctl ${describe(ending)}`)
}
