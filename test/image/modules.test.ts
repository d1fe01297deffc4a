import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { moduleFiles } from '../../image/builder/modules.ts'

test('a module that the kernel does not have is named', async t => {
  const parts = mkdtempSync(join(tmpdir(), 'modules-'))
  t.after(() => rmSync(parts, { recursive: true, force: true }))
  mkdirSync(join(parts, 'kernel/usr/lib/modules/6.12.1'), { recursive: true })
  await assert.rejects(moduleFiles(parts, ['my_driver']), {
    message: 'modules.txt: the kernel 6.12.1 has no module my_driver',
  })
})
