import assert from 'node:assert/strict'
import { test } from 'node:test'
import { imagerManifest } from '../../image/builder/imager.ts'
import { isPreseed } from '../../src/preseed/read.ts'

/** What the schema of rpi-imager requires of an entry, with the type; further members are allowed. */
const REQUIRED = {
  ...{ name: 'string', description: 'string', icon: 'string', url: 'string', extract_size: 'number' },
  ...{ extract_sha256: 'string', image_download_size: 'number', release_date: 'string' },
}

test('Raspberry Pi Imager gets a repository with sizes, checksums and boards of the image', () => {
  const sums = { extracted: { size: 1200, sha256: 'a'.repeat(64) }, compressed: { size: 80, sha256: 'b'.repeat(64) } }
  const image = '/out/my dir/pi-adu-1.0.0.img.zst'
  const read = (url?: string) =>
    JSON.parse(imagerManifest({ version: '1.0.0', image, url, epoch: 1_760_000_000, ...sums }))
  const { os_list: list, imager, ...rest } = read()
  assert.deepEqual(rest, {})
  const [entry] = list
  for (const [name, type] of Object.entries(REQUIRED)) assert.equal(typeof entry[name], type, name)
  const known = imager.devices.flatMap(({ tags }: { tags: readonly string[] }) => tags)
  assert.deepEqual(known, entry.devices, 'Imager shows no entry for a board that it does not know')
  assert.deepEqual([entry.extract_size, entry.image_download_size], [1200, 80])
  assert.deepEqual([entry.extract_sha256, entry.image_download_sha256], ['a'.repeat(64), 'b'.repeat(64)])
  assert.equal(entry.release_date, '2025-10-09')
  assert.equal(entry.url, 'file:///out/my%20dir/pi-adu-1.0.0.img.zst')
  assert.ok(isPreseed(`${entry.init_format}.toml`), 'the image reads what Imager writes')
  for (const base of ['https://files.example.com/pi', 'https://files.example.com/pi/'])
    assert.equal(read(base).os_list[0].url, 'https://files.example.com/pi/pi-adu-1.0.0.img.zst')
})
