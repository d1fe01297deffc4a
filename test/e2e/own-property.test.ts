import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { OwnProperty } from '../../src/twin/own-property.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
const two = await rig.system('2.0.0')

const own = (pi: Pi): Partial<OwnProperty> => (pi.reported as { piAdu?: Partial<OwnProperty> }).piAdu ?? {}

const withLocks = {
  configure: (config: Record<string, unknown>) => {
    const piAdu = config.piAdu as Record<string, object>
    piAdu.gates = { locks: join(String(config.dataFolder), 'locks') }
  },
}

rig.test('the twin says what an update waits for, then how it ended and what is in the slots', withLocks, async pi => {
  await pi.waitFor(() => own(pi).phase === 'idle', 'piAdu')
  assert.deepEqual(own(pi), { format: 1, phase: 'idle', slots: { booted: 'a', a: '1.0.0' } })
  const locks = join(pi.folder.data, 'locks')
  await mkdir(locks)
  await writeFile(join(locks, 'till'), '{"gates":["download"],"why":"a customer pays"}')
  const id = pi.deploy(two)
  await pi.waitFor(() => own(pi).phase === 'waiting', 'the gate in piAdu')
  assert.equal(own(pi).waitsFor?.what, 'gate')
  assert.match(own(pi).waitsFor?.why ?? '', /a customer pays/)
  await rm(join(locks, 'till'))
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
  await pi.waitFor(() => own(pi).phase === 'idle' && own(pi).last?.id === id, 'the result in piAdu')
  const { waitsFor, last, slots } = own(pi)
  assert.deepEqual({ waitsFor, last }, { waitsFor: undefined, last: { id, resultCode: 700 } })
  assert.deepEqual(slots, { booted: 'b', a: '1.0.0', b: '2.0.0' })
})
