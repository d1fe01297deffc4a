import { disk } from './disk.ts'

/**
 * Replaces `file`. After a power cut it has either its old content or all of `content`. When this resolves, `content` is on the
 * disk. Only the owner may read the file. Writes a new file beside it, fsyncs it, renames it, and fsyncs the folder.
 */
export async function writeAtomically(file: string, content: string | Buffer): Promise<void> {
  const temporary = `${file}.new`
  await disk.write(temporary, content)
  await disk.rename(temporary, file)
}
