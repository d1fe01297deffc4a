import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { EXTENDED_RESULT_CODE, ercText } from '../../src/domain/result-codes.ts'
import { explainExtended, explainResult, explainText, searchCodes } from '../../src/explain/explain.ts'
import { REFERENCE_COMPONENTS } from '../../src/explain/reference-codes.ts'
import { explanationsText } from '../../src/explain/text.ts'

const codesIn = (text: string): readonly string[] => explainText(text).map(({ code }) => code)

test('the reference’s table is whole: 286 codes, each eight digits in its own component', () => {
  const codes = REFERENCE_COMPONENTS.flatMap(({ base, symbols }) => {
    for (const [code, symbol] of symbols)
      assert.match(`${code} ${symbol}`, new RegExp(`^${base}[0-9A-F]{5} [A-Z0-9_]+$`))
    return [...symbols.keys()]
  })
  assert.equal(codes.length, 286)
  assert.equal(new Set(codes).size, 286)
})

test('every code that this agent or the reference reports has words and a next step', () => {
  const own = Object.values(EXTENDED_RESULT_CODE)
  const reference = REFERENCE_COMPONENTS.flatMap(({ symbols }) =>
    [...symbols.keys()].map(code => Number.parseInt(code, 16)),
  )
  for (const code of [...own, ...reference]) {
    const { means, next = '', code: shown } = explainExtended(code)
    assert.match(means, /^[a-zDSU`].{6,}[^.]$/, shown)
    assert.match(next, /\.$/, shown)
    assert.doesNotMatch(means, /unknown code/, shown)
  }
})

const CASES: readonly (readonly [code: number, means: RegExp, symbol?: RegExp])[] = [
  [0, /^nothing to add/],
  [0x3210000d, /^the new system was not healthy in time$/],
  [0x80300001, /has no signature, or .* not the text that was signed/, /MANIFEST_VALIDATION_FAILED/],
  [0x30101001, /^SWUpdate refused the bundle/],
  [0x30101014, /exit code 20$/],
  [0x3050100c, /^the script ended with exit code 12$/],
  [0x4030103c, /^curl ended with exit code 60$/],
  [0x90a00007, /^the diff library failed with 7$/],
  [0xd0000013, /^Delivery Optimization failed with 0x13$/],
  [0xa010000c, /^the root key package cannot be downloaded: the downloaded file is not/],
  [0x30200100, /^apt cannot find or download the packages/, /^APT_HANDLER_PACKAGE_DOWNLOAD_FAILURE$/],
  [0x30200400, /^handler microsoft\/apt: .*package cancel failure$/, /^APT_HANDLER_PACKAGE_CANCEL_FAILURE$/],
  [0x3210ffff, /this version does not know/],
  [0xf0000001, /^an unknown code$/],
]
test('codes, and ranges that carry a number of somebody else’s', () => {
  for (const [code, means, symbol] of CASES) {
    const explained = explainExtended(code)
    assert.match(explained.means, means, ercText(code))
    if (symbol) assert.match(explained.symbol ?? '', symbol)
  }
  assert.equal(explainResult(700).means, 'applied')
  assert.equal(explainResult(-1).means, 'cancelled')
  assert.match(explainResult(999).means, /success of an unknown kind/)
})

test('codes are found in whatever is pasted', () => {
  assert.deepEqual(codesIn('3210000d'), ['3210000D'])
  assert.deepEqual(codesIn('0x3210000D'), ['3210000D'])
  assert.deepEqual(codesIn('700'), ['700'])
  assert.deepEqual(codesIn('-1'), ['-1'])
  // Contracts 1 and 2: signed decimal.
  assert.deepEqual(codesIn(String(0x80300001 | 0)), ['80300001'])
  assert.deepEqual(codesIn('1048577'), ['00100001'])
  assert.deepEqual(codesIn(`"extendedResultCode": ${0x3210000d | 0}`), ['3210000D'])
  assert.deepEqual(codesIn('{"event":"install.end","bytes":1234567890,"time":1795000000}'), [])
  const report = '{"lastInstallResult":{"resultCode":0,"extendedResultCodes":"3210000C,A0000FFF","resultDetails":""}}'
  assert.deepEqual(codesIn(report), ['0', '3210000C', 'A0000FFF'])
  assert.deepEqual(codesIn('state 255, result 0, extended 3210000D'), ['0', '3210000D'])
  assert.deepEqual(codesIn('20261126 12:00 workflow 11b1ca5e-aaaa-4f33-8a9e-0123456789ab ended'), [])
  assert.deepEqual(codesIn(''), [])
  assert.deepEqual(codesIn('x'.repeat(100_000)), [])
})

test('words are searched for in meanings and symbols', () => {
  assert.deepEqual(
    searchCodes('fell back').map(({ code }) => code),
    ['3210000C'],
  )
  assert.ok(searchCodes('apt handler download').length >= 2)
  assert.deepEqual(searchCodes('quantum entanglement'), [])
  assert.deepEqual(searchCodes('  '), [])
})

test('an explanation fits 80 columns', () => {
  const all = Object.values(EXTENDED_RESULT_CODE).map(explainExtended)
  const lines = explanationsText(all.map(({ symbol: _, ...rest }) => rest)).split('\n')
  assert.deepEqual(
    lines.filter(line => line.length > 80),
    [],
  )
})

test('both programs explain', () => {
  const root = repositoryRoot()
  for (const program of ['dist/src/main.js', 'dist/src/operator/main.js']) {
    const run = (...args: string[]) =>
      execFileSync(process.execPath, [join(root, program), 'explain', ...args], { encoding: 'utf8' })
    assert.equal(
      run('32100015'),
      '32100015  extended result code\n' +
        '  Older than the installed or the minimum version.\n' +
        '  Deploy a newer version, or set `piAdu.trust.allowDowngrade`.\n',
    )
    assert.equal(JSON.parse(run('--json', '700'))[0].means, 'applied')
    assert.match(run('root', 'key'), /more; add words to narrow the search/)
    const { status, stderr } = spawnSync(process.execPath, [join(root, program), 'explain', 'zzz'], {
      encoding: 'utf8',
    })
    assert.equal(status, 64)
    assert.match(stderr, /^pi-adu(-operator)?: no result code in "zzz", and no code speaks of it\n$/)
  }
})
