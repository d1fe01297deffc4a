import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { packagesOf } from '../../image/builder/agent-bundle.ts'
import { licenceTexts } from '../../image/builder/licences.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'

test('the licence texts of packages, firmware, npm and the agent are one archive, the same each time', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'licences-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), text)
  }
  put('root/usr/share/doc/bash/copyright', 'GPL-3')
  put('root/usr/share/doc/bash/README', 'not this')
  put('root/usr/share/common-licenses/GPL-3', 'the text')
  symlinkSync('GPL-3', join(dir, 'root/usr/share/common-licenses/GPL'))
  put('parts/raspi-firmware/usr/share/doc/raspi-firmware/copyright', 'Broadcom')
  put('parts/libnode-dev/usr/share/doc/libnode-dev/copyright', 'not in the image')
  put('parts/versions.txt', 'x')
  put('firmware/usr/share/doc/firmware-x/copyright', 'non-free')
  put('LICENSE', 'MIT')
  put('npm/bare/package.json', '{}')
  const base = join(dir, 'base.tar')
  execFileSync('tar', ['-cf', base, '-C', join(dir, 'root'), '.'])
  const root = repositoryRoot()
  const npm = [
    ...(await packagesOf(root, ['node_modules/valibot/dist/index.mjs'])),
    { kind: 'npm' as const, name: 'bare', version: '1.0.0', licence: 'ISC', folder: join(dir, 'npm/bare') },
  ]
  const debs = ['bash', 'libbash'].map(name => ({ kind: 'deb' as const, name, version: '1' }))
  const make = () =>
    licenceTexts({
      base,
      parts: join(dir, 'parts'),
      firmware: join(dir, 'firmware'),
      npm,
      own: join(dir, 'LICENSE'),
      debs,
      epoch: 1_760_000_000,
    })
  const archive = await make()
  assert.deepEqual(await make(), archive)
  const file = join(dir, 'texts.tar.gz')
  writeFileSync(file, archive)
  const tar = (...args: string[]): string => execFileSync('tar', [...args, '-f', file], { encoding: 'utf8' })
  const names = tar('-tz').trim().split('\n')
  assert.deepEqual(
    names.filter(name => !name.startsWith('npm/')),
    [
      'common-licenses/GPL',
      'common-licenses/GPL-3',
      'debian/OTHERS.txt',
      'debian/bash/copyright',
      'debian/firmware-x/copyright',
      'debian/raspi-firmware/copyright',
      'pi-adu-agent/LICENSE',
    ],
  )
  assert.deepEqual(
    names.filter(name => name.startsWith('npm/')).map(name => name.replace(/@[\d.]+/, '')),
    ['npm/bare/LICENSE', 'npm/valibot/LICENSE.md'],
  )
  const text = (name: string): string => execFileSync('tar', ['-xzOf', file, name], { encoding: 'utf8' })
  assert.match(text('debian/OTHERS.txt'), /\n\nlibbash\n$/)
  assert.match(text('npm/bare@1.0.0/LICENSE'), /ISC, says its package\.json/)
})
