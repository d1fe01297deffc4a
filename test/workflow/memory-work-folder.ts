import { createHash } from 'node:crypto'
import type { FileEntity, Verified } from '../../src/domain/deployment.ts'
import type { StepFolder, WorkFolder } from '../../src/ports/work-folder.ts'

/** Files of steps in memory, which outlive a power cut. */
export class MemoryWorkFolder implements WorkFolder {
  readonly files = new Map<string, Buffer>()
  /** Bytes that may be written. */
  space = 1e9
  /** Whatever was written, over all starts. */
  readonly written: string[] = []

  where({ workflowId, path }: StepFolder): string {
    return `/downloads/${workflowId}/${path.join('.')}`
  }

  async has(folder: StepFolder, { fileName, sha256 }: Verified<FileEntity>): Promise<boolean> {
    const content = this.files.get(`${this.where(folder)}/${fileName}`)
    return content !== undefined && createHash('sha256').update(content).digest().equals(sha256)
  }

  async write(
    folder: StepFolder,
    { fileName }: Verified<FileEntity>,
    bytes: Verified<AsyncIterable<Buffer>>,
  ): Promise<void> {
    const chunks: Buffer[] = []
    for await (const piece of bytes) chunks.push(Buffer.from(piece))
    this.written.push(fileName)
    this.files.set(`${this.where(folder)}/${fileName}`, Buffer.concat(chunks))
  }

  async free(): Promise<number> {
    return this.space
  }

  async keepOnly(workflowId: string | undefined): Promise<void> {
    for (const name of this.files.keys()) {
      if (workflowId === undefined || !name.startsWith(`/downloads/${workflowId}/`)) this.files.delete(name)
    }
  }
}
