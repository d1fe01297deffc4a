import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildSystem } from '../bench/qemu/system.ts'

// Builds the image that most tests here boot, so that its parts are in the cache. scripts/test runs this beside other tests.
const dir = await mkdtemp(join(tmpdir(), 'qemu-'))
try {
  await buildSystem(dir)
} finally {
  await rm(dir, { recursive: true, force: true })
}
