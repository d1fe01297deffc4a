import assert from 'node:assert/strict'
import test from 'node:test'
import type { Component, FileEntity, ScriptWork, Verified } from '../../../src/domain/deployment.ts'
import { actionOf, type Call, wordsOf } from '../../../src/steps/script/words.ts'

const script = { fileName: 'run.sh' } as Verified<FileEntity>
const SCRIPT: ScriptWork = { is: 'script', script, arguments: [], apiVersion: '1.0' }
const MOTOR: Component = {
  ...{ id: '7', name: 'left motor', group: 'motors', manufacturer: 'Contoso', model: '', version: '1.2' },
  properties: { path: '/dev/ttyS1', empty: '' },
}

const words = (work: Partial<ScriptWork>, call: Partial<Call> = {}) =>
  wordsOf({
    ...{ work: { ...SCRIPT, ...work }, action: 'install', ofDevice: [], workFolder: '/w', resultFile: '/w/r.json' },
    ...call,
  })

const TAIL = ['--work-folder', '/w', '--result-file', '/w/r.json']

test('the words of both handlers stand in the order of the contract', () => {
  assert.deepEqual(words({ arguments: ['--a', 'b'] }, { installedCriteria: 'grep "x y" /etc/z' }), [
    ...['--action-install', '--a', 'b', ...TAIL, '--installed-criteria', 'grep "x y" /etc/z'],
  ])
  const device = ['--public-key-file', '/k.pem', '--log-level', '0']
  assert.deepEqual(
    words(
      { arguments: ['--a'], apiVersion: '1.1', swuFileName: 'a.swu' },
      { action: 'is-installed', ofDevice: device },
    ),
    ['--action', 'is-installed', '--swu-file', '/w/a.swu', ...device, '--a', ...TAIL],
  )
  assert.deepEqual(words({}, { installedCriteria: '' }), ['--action-install', ...TAIL])
  assert.deepEqual((['isInstalled', 'download', 'cancel'] as const).map(actionOf), [
    'is-installed',
    'download',
    'cancel',
  ])
})

test('component tokens become the values of the component, and a missing value is never an empty word', () => {
  const both = (value: string) => [`--component-${value}-val`, `\${du_component_${value}}`]
  const given = ['id', 'name', 'manufacturer', 'model', 'group', 'version'].flatMap(both)
  const values = ['7', 'left motor', 'Contoso', 'n/a', 'motors', '1.2'].flatMap(value => [value, value])
  const args = (...list: string[]) => words({ arguments: list }, { component: MOTOR }).slice(1, -4)
  assert.deepEqual(args(...given), values)
  assert.deepEqual(args('--path', '--component-prop-val', 'path', 'x'), ['--path', '/dev/ttyS1', 'x'])
  assert.deepEqual(args('--path', `\${du_component_prop}`, 'path'), ['--path', '/dev/ttyS1'])
  for (const name of ['none', 'empty', 'constructor']) assert.deepEqual(args('--component-prop-val', name), ['n/a'])
  assert.deepEqual(args('--component-prop-val'), ['n/a'])
  // Only whole words are tokens.
  assert.deepEqual(args('x--component-id-val', '--component-id-value'), ['x--component-id-val', '--component-id-value'])
})

test('without a component every token is n/a; for a bundle, a missing property is no word at all', () => {
  const tokens = ['--component-id-val', '--component-prop-val', 'path', 'end']
  assert.deepEqual(words({ arguments: tokens }).slice(1, -4), ['n/a', 'n/a', 'end'])
  assert.deepEqual(words({ arguments: tokens, swuFileName: 'a.swu' }).slice(3, -4), ['n/a', 'end'])
})
