import type { FileHandle } from 'node:fs/promises'

/** Writes all bytes at `at`. write(2) takes fewer without an error on a full disk, and says why only at the next call. */
export async function writeAll(file: FileHandle, content: Buffer, at: number): Promise<void> {
  for (let done = 0; done < content.length; ) {
    const { bytesWritten } = await file.write(content, done, content.length - done, at + done)
    if (bytesWritten === 0) throw new Error('it ends too early')
    done += bytesWritten
  }
}
