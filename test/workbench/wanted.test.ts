import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { StepEntry } from '../../src/operator/import-manifest/wanted-step.ts'
import { importWanted, written } from '../bench/authoring/wanted.ts'
import { type Bench, startBench } from '../bench/bench.ts'
import { operator } from '../operator/support.ts'

let dir: string
let bench: Bench
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'wanted-'))
  bench = await startBench({ stateDir: join(dir, 'state') })
  await writeFile(join(dir, 'prepare.sh'), '#!/bin/sh\n')
  await writeFile(join(dir, 'firmware.hex'), ':00000001FF\n')
})
after(async () => {
  await bench.stop()
  await rm(dir, { recursive: true })
})

const child = (...args: string[]) =>
  operator(
    [
      ...['import-manifest', 'create', '--provider', 'contoso', '--name', 'sensor', '--update-version', '1.4'],
      ...['--no-deployable', '--compat', 'group=sensors', ...args],
    ],
    undefined,
    { cwd: dir },
  )

test('a list is imported as an author writes it: an image of a version, a script, and a child that the operator made', async () => {
  await child('--step', 'contoso/mcu:1', '--file', 'firmware.hex', '--property', 'port=/dev/ttyS1')
  const { version, update } = await importWanted(
    bench,
    written(
      { step: `script:${dir}/prepare.sh`, arguments: '--pre' },
      { step: 'image:7.1.0' },
      { step: `ref:${dir}/contoso.sensor.1.4.importmanifest.json` },
    ),
  )
  assert.equal(version, '7.1.0')
  const { instructions, files } = JSON.parse(update.manifest)
  const [script, image, reference] = instructions.steps
  assert.deepEqual(script.handlerProperties, {
    installedCriteria: 'prepare-7.1.0',
    scriptFileName: 'prepare.sh',
    arguments: '--pre',
  })
  assert.deepEqual(image.handlerProperties, { installedCriteria: '7.1.0', swuFileName: 'system-7.1.0.swu' })
  assert.equal(files[reference.detachedManifestFileId].fileName, 'contoso.sensor.1.4.updatemanifest.json')
  const published = update.files.find(({ fileId }) => fileId === reference.detachedManifestFileId)!
  const manifest = JSON.parse(JSON.parse(await readFile(published.path, 'utf8')).updateManifest)
  assert.deepEqual(manifest.compatibility, [{ group: 'sensors' }])
  assert.deepEqual(manifest.instructions.steps[0].handlerProperties, { port: '/dev/ttyS1' })
  const [firmware] = Object.keys(manifest.files)
  assert.ok(update.files.some(({ fileId }) => fileId === firmware))
})

test('what is wrong with a list is said, and what the bench cannot import', async () => {
  const wrong = (...steps: readonly StepEntry[]) => importWanted(bench, written(...steps), '1.0')
  await assert.rejects(wrong({ step: `script:${dir}/none.sh` }), /cannot read .*none\.sh/)
  const related = {
    step: `contoso/mcu:1`,
    files: [`${dir}/firmware.hex`],
    relatedFiles: [{ file: `${dir}/prepare.sh` }],
  }
  await assert.rejects(wrong(related), /firmware\.hex has related files, which the bench does not import/)
  await child('--step', 'contoso/mcu:1', '--file', 'firmware.hex', '--property', 'port=/dev/ttyS1')
  await writeFile(join(dir, 'firmware.hex'), ':00000001FE\n')
  const reference = { step: `ref:${dir}/contoso.sensor.1.4.importmanifest.json` }
  await assert.rejects(wrong(reference), /files\.0\.hashes\.sha256 is not that of/)
})
