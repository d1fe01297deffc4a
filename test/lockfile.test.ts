import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../image/builder/repository.ts'

interface LockedPackage {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

// npm leaves out what it could not find when the file was written, such as packages for other platforms; `npm ci` then
// refuses the file on every machine that has no node_modules yet.
test('package-lock.json names every package that another one asks for', () => {
  const text = readFileSync(join(repositoryRoot(), 'package-lock.json'), 'utf8')
  const packages: Readonly<Record<string, LockedPackage>> = JSON.parse(text).packages
  const locked = new Set(Object.keys(packages).map(path => path.slice(path.lastIndexOf('node_modules/') + 13)))
  const missing = Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...optionalDependencies })
      .filter(name => !locked.has(name))
      .map(name => `${name}, for ${path}`),
  )
  assert.deepEqual(missing, [])
})

// Without one, npm takes whatever the registry gives under that name and version.
test('package-lock.json has the checksum of every package', () => {
  const text = readFileSync(join(repositoryRoot(), 'package-lock.json'), 'utf8')
  const packages: Readonly<Record<string, { readonly integrity?: string; readonly link?: boolean }>> =
    JSON.parse(text).packages
  const unknown = Object.entries(packages).filter(([path, { integrity = '' }]) => path && !/^sha512-/.test(integrity))
  assert.deepEqual(unknown, [])
})
