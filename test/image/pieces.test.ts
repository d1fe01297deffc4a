import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { buildAgent } from '../../image/builder/agent-bundle.ts'

// What the pieces of the built agent hold: a device reads only what its own kind of identity needs.

const dir = mkdtempSync(join(tmpdir(), 'pieces-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const { bytes, pieces } = await buildAgent(dir)
const paths = Object.keys(pieces)

/** Everything that is read once the piece with the source file `source` is loaded. */
function readWith(source: string, seen = new Set<string>()): Set<string> {
  const piece = paths.find(path => (pieces[path]?.inputs[source]?.bytesInOutput ?? 0) > 0)
  assert.ok(piece, `${source} is in no piece`)
  const add = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    for (const { path: next, kind } of pieces[path]?.imports ?? []) {
      if (kind === 'import-statement' && pieces[next]) add(next)
    }
  }
  add(piece)
  return seen
}

/** Bytes of all sources of ours that only serve identities other than a connection string. */
const IDENTITY =
  /^src\/(adapters\/(dps|identity|tls)\/|cli\/(check-identity|identity|device-certificates)|cli\/doctor\/identity|config\/(identity|sections\/provisioning)|domain\/(registration-id|hub-names))/
function identityBytes(read: Iterable<string>): number {
  const inputs = [...read].flatMap(path => Object.entries(pieces[path]?.inputs ?? {}))
  return inputs.reduce((sum, [file, { bytesInOutput }]) => sum + (IDENTITY.test(file) ? bytesInOutput : 0), 0)
}

const started = readWith('src/main.ts')
readWith('src/cli/run.ts', started)
readWith('src/adapters/iot-hub/iot-hub.ts', started)

test('the pieces that an agent with a connection string reads hold at most 12 kB for other identities', t => {
  const kilobytes = identityBytes(started) / 1000
  t.diagnostic(`${kilobytes.toFixed(1)} kB with a connection string`)
  assert.ok(kilobytes <= 12, `${kilobytes} kB`)
  const files = [...started].flatMap(path => Object.keys(pieces[path]?.inputs ?? {}))
  for (const rare of ['adapters/dps/dps-client', 'adapters/identity/certificate', 'adapters/identity/provisioned'])
    assert.ok(!files.includes(`src/${rare}.ts`), rare)
})

test('certificates and the provisioning service add a few kB when they are used', t => {
  for (const [what, source, most] of [
    ['X.509', 'src/adapters/identity/certificate-identity.ts', 20],
    ['the provisioning service', 'src/adapters/identity/from-service.ts', 32],
  ] as const) {
    const read = readWith(source, new Set(started))
    if (what !== 'X.509') readWith('src/adapters/dps/dps-client.ts', read)
    const kilobytes = identityBytes(read) / 1000
    t.diagnostic(`${kilobytes.toFixed(1)} kB with ${what}`)
    assert.ok(kilobytes <= most, `${what}: ${kilobytes} kB`)
  }
})

test('the whole program stays below its limit', t => {
  const of = (each: readonly string[]): number => each.reduce((sum, path) => sum + (pieces[path]?.bytes ?? 0), 0) / 1000
  t.diagnostic(`${(bytes / 1000).toFixed(0)} kB in all, ${of([...started]).toFixed(0)} kB read at the start`)
  t.diagnostic(`${(identityBytes(paths) / 1000).toFixed(1)} kB for identities in all`)

  assert.ok(of([...started]) <= 950, `${of([...started])} kB are read at the start`)
})
