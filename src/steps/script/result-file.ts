import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { messageOf } from '../../domain/errors.ts'
import { type Answer, BadAnswer, readAnswer } from '../answer.ts'

/** In bytes. */
const MAX_RESULT = 64 * 1024

/**
 * What the script wrote. The script's user may have put anything in this place, so a link is not followed, and a FIFO or device
 * is not waited for. Errors: BadAnswer, which quotes nothing of the file.
 */
export async function readResultFile(path: string): Promise<Answer> {
  let text: string
  try {
    text = await contentOf(path)
  } catch (error) {
    if (error instanceof BadAnswer) throw error
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') throw new BadAnswer('is missing')
    if (code === 'ELOOP') throw new BadAnswer('is a link')
    throw new BadAnswer(`cannot be read: ${messageOf(error)}`)
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new BadAnswer('is not valid JSON (a code is a decimal number, without quotes and 0x)')
  }
  return readAnswer(json)
}

async function contentOf(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const found = await file.stat()
    // A second name could be that of a file which this user may read and the script's may not.
    if (!found.isFile() || found.nlink !== 1) throw new BadAnswer('is not a regular file of the script')
    if (found.size > MAX_RESULT) throw new BadAnswer(`is larger than ${MAX_RESULT / 1024} KiB`)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_RESULT), 0, MAX_RESULT, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}
