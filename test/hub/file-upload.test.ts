import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { aHub, tempDir } from './support.ts'

// An owner's own program, with the SDK as it is.
const UPLOAD = `
  const { createReadStream, statSync } = require('node:fs')
  const { Client } = require('azure-iot-device')
  const { Mqtt } = require('azure-iot-device-mqtt')
  const client = Client.fromConnectionString(process.env.CONNECTION, Mqtt)
  const { size } = statSync(process.env.FILE)
  client.uploadToBlob('logs/x.bin', createReadStream(process.env.FILE), size, error => {
    if (error) console.error(error)
    process.exit(error ? 1 : 0)
  })
`
const cwd = fileURLToPath(new URL('.', import.meta.url))

test('uploadToBlob of the unmodified SDK: the file is in the container, and the hub is told', async t => {
  const hub = await aHub(t)
  hub.createDevice('pump')
  const FILE = join(await tempDir(t), 'x.bin')
  for (const size of [100, 5_000_000]) {
    await writeFile(FILE, randomBytes(size))
    const CONNECTION = hub.deviceConnectionString('pump', { cloud: true })
    await execa('node', ['-e', UPLOAD], { env: { ...hub.childEnvironment(), CONNECTION, FILE }, cwd })
    assert.deepEqual(await hub.blobs.read('pump/logs/x.bin'), await readFile(FILE))
    const { deviceId, blob, isSuccess } = hub.fileUploads.at(-1) ?? assert.fail('a notice')
    assert.deepEqual({ deviceId, blob, isSuccess }, { deviceId: 'pump', blob: 'pump/logs/x.bin', isSuccess: true })
  }
  assert.equal(hub.fileUploads.length, 2)
})

test('a device with another key gets no place', async t => {
  const hub = await aHub(t)
  hub.createDevice('pump')
  const FILE = join(await tempDir(t), 'x.bin')
  await writeFile(FILE, 'x')
  const CONNECTION = hub
    .deviceConnectionString('pump', { cloud: true })
    .replace(/SharedAccessKey=.*/, `SharedAccessKey=${randomBytes(32).toString('base64')}`)
  const { exitCode, stderr } = await execa('node', ['-e', UPLOAD], {
    env: { ...hub.childEnvironment(), CONNECTION, FILE },
    cwd,
    reject: false,
  })
  assert.equal(exitCode, 1)
  assert.match(stderr, /Unauthorized/)
  assert.equal(hub.fileUploads.length, 0)
})
