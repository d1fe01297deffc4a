import assert from 'node:assert/strict'
import { test } from 'node:test'
import { layoutOf, readLayout, sizeOf, slotWarning } from '../../image/builder/disk.ts'

const MIB = 2 ** 20
const TABLE = `label: dos
start=2048, size=4096, type=c, bootable
start=6144,  size=8192, type=83
start=14336, size=8192, type=83
start=22528, size=2048, type=83
`

test('without sizes the table stays as it is', async () => {
  const layout = layoutOf(TABLE)
  assert.equal(layout.table.replaceAll(/ +/g, ' '), TABLE.replaceAll(/ +/g, ' '))
  assert.deepEqual(layout.b, { start: 7 * MIB, size: 4 * MIB })
  assert.equal(layout.bytes, 12 * MIB)
  const image = await readLayout()
  assert.equal(image.a.size, image.b.size)
})

test('other sizes move what follows, and leave no gap or overlap', () => {
  for (const [slot, data] of [
    [6, 3],
    [2, undefined],
    [undefined, 9],
  ]) {
    const layout = layoutOf(TABLE, { slot: slot && slot * MIB, data: data && data * MIB })
    const { boot, a, b, data: last, bytes } = layout
    assert.deepEqual(boot, { start: MIB, size: 2 * MIB })
    assert.equal(a.start, 3 * MIB)
    assert.equal(a.size, (slot ?? 4) * MIB)
    assert.equal(b.size, (slot ?? 4) * MIB)
    assert.equal(b.start, a.start + a.size)
    assert.equal(last.start, b.start + b.size)
    assert.equal(last.size, (data ?? 1) * MIB)
    assert.equal(bytes, last.start + last.size)
    const found = [...layout.table.matchAll(/start=(\d+), size=(\d+)/g)].map(([, start, size]) => [start, size])
    assert.deepEqual(
      found,
      [boot, a, b, last].map(part => [String(part.start / 512), String(part.size / 512)]),
    )
  }
})

test('a table with another number of partitions is refused', () => {
  assert.throws(() => layoutOf(TABLE.split('\n').slice(0, 4).join('\n')), /needs four partitions/)
})

test('sizes have a unit, and limits', () => {
  assert.equal(sizeOf('--slot-size', undefined), undefined)
  assert.equal(sizeOf('--slot-size', '768M'), 768 * MIB)
  assert.equal(sizeOf('--slot-size', '2G'), 2048 * MIB)
  for (const wrong of ['', '768', '768K', '0.5G', '-1G', '1e3M', '63M', '0M', '513G', '99999999M', ' 1G', '1GB', '１G'])
    assert.throws(() => sizeOf('--data-size', wrong), /--data-size .*from 64M to 512G/, wrong)
})

test('a slot that is more than 70 % full is warned about', () => {
  assert.equal(slotWarning(70, 100), undefined)
  assert.match(slotWarning(71, 100) ?? '', /71 % full.*--slot-size/)
  assert.match(slotWarning(100, 100) ?? '', /100 % full/)
})
