import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { writeAtomically } from '../files/atomic-file.ts'

const note = v.object({ operationId: v.string(), starts: v.pipe(v.number(), v.integer()) })

/** Counts the start of an operation in `file`, which is on the disk when this resolves. An unreadable one counts as none. */
export async function countStart(file: string, operationId: string): Promise<number> {
  const starts = (await startsOf(file, operationId)) + 1
  await save(file, operationId, starts)
  return starts
}

/** Takes the last `countStart` of this operation back. */
export async function takeStartBack(file: string, operationId: string): Promise<void> {
  const starts = await startsOf(file, operationId)
  if (starts > 0) await save(file, operationId, starts - 1)
}

async function startsOf(file: string, operationId: string): Promise<number> {
  const before = await readFile(file, 'utf8')
    .then(text => v.parse(note, JSON.parse(text)))
    .catch(() => undefined)
  return before?.operationId === operationId ? before.starts : 0
}

async function save(file: string, operationId: string, starts: number): Promise<void> {
  await writeAtomically(file, JSON.stringify({ operationId, starts })).catch(cause => {
    throw new AgentError('LOGS_BUNDLE', `cannot write ${file}: ${messageOf(cause)}`, { cause })
  })
}
