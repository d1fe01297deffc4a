import assert from 'node:assert/strict'
import test from 'node:test'
import { ercText } from '../../../src/domain/result-codes.ts'
import type { Verb } from '../../../src/ports/steps.ts'
import { BadAnswer, DONE, readAnswer, successOf } from '../../../src/steps/answer.ts'
import { outcomeOf } from '../../../src/steps/script/outcome.ts'
import type { Launched } from '../../../src/steps/worker.ts'

const OK: Launched = { exitCode: 0, tail: 'a line\n\nthe last\n' }
const EXIT_3: Launched = { exitCode: 3, complaint: 'failed with exit code 3', tail: 'disk is full\n' }
const answer = (resultCode: number, extendedResultCode = 0, resultDetails = '') =>
  readAnswer({ resultCode, extendedResultCode, resultDetails })
const MISSING = new BadAnswer('is missing')

function outcome(...given: Parameters<typeof outcomeOf>): string {
  const { resultCode, extendedResultCode, resultDetails } = outcomeOf(...given)
  return `${resultCode} ${ercText(extendedResultCode)} ${resultDetails}`
}

const ROWS: readonly [
  verb: Verb,
  handler: 'script' | 'swupdate',
  launched: Launched,
  file: ReturnType<typeof answer> | BadAnswer,
  outcome: RegExp,
][] = [
  ['install', 'script', OK, answer(600, 0, 'well'), /^600 00000000 well$/],
  ['install', 'script', OK, answer(605), /^605 00000000 $/],
  // The published template answers 700 to every action.
  ['download', 'script', OK, answer(700), /^500 00000000/],
  ['install', 'script', OK, answer(700), /^600 00000000/],
  ['install', 'script', OK, answer(705), /^605 00000000/],
  ['apply', 'swupdate', OK, answer(608), /^708 00000000/],
  ['isInstalled', 'script', OK, answer(901), /^901 /],
  ['isInstalled', 'script', OK, answer(600), /^0 321000F1 the script's action is-installed gave the result code 600/],
  ['isInstalled', 'script', OK, answer(12345), /^0 321000F1 .*12345/],
  // As in the reference, any positive code is a success of what has an effect.
  ['download', 'script', OK, answer(605), /^500 00000000 $/],
  ['install', 'script', OK, answer(12345), /^600 00000000 $/],
  ['install', 'script', OK, answer(1, 0, 'done'), /^600 00000000 done$/],
  ['apply', 'swupdate', OK, answer(200), /^700 00000000 $/],
  ['install', 'script', OK, answer(2 ** 32 - 1), /^0 30500206 /],
  ['install', 'script', OK, answer(0, 0x30501234, 'no motor'), /^0 30501234 .*install failed: no motor$/],
  ['install', 'script', OK, answer(-1, -2), /^0 FFFFFFFE .*failed; it printed: a line; the last$/],
  ['install', 'script', OK, answer(0), /^0 30500206 /],
  ['install', 'swupdate', OK, answer(0), /^0 30500206 /],
  ['install', 'script', OK, MISSING, /^0 30500205 .*the result file is missing; it printed: a line; the last$/],
  ['apply', 'swupdate', OK, MISSING, /^0 30100205 /],
  ['cancel', 'script', OK, MISSING, /^801 00000000 /],
  ['cancel', 'script', OK, answer(800), /^800 /],
  ['cancel', 'script', OK, answer(700), /^0 321000F1 /],
  // The exit code of script:1 counts more than its file; that of swupdate:2 counts unless the file has a failure.
  [
    'install',
    'script',
    EXIT_3,
    answer(600),
    /^0 30501003 .*install failed with exit code 3; it printed: disk is full$/,
  ],
  ['install', 'script', EXIT_3, answer(0, 0x30501234, 'no motor'), /^0 30501003 .*exit code 3: no motor$/],
  ['install', 'script', EXIT_3, MISSING, /^0 30501003 /],
  ['install', 'swupdate', EXIT_3, answer(600), /^0 30101003 /],
  ['install', 'swupdate', EXIT_3, answer(0, 0x30101064, 'no version'), /^0 30101064 .*: no version$/],
  ['install', 'swupdate', EXIT_3, answer(0), /^0 30101003 /],
  ['install', 'swupdate', EXIT_3, MISSING, /^0 30101003 /],
  ['cancel', 'script', EXIT_3, MISSING, /^0 30501003 /],
  [
    'install',
    'script',
    { signal: 'SIGKILL', complaint: 'was killed', tail: '' },
    answer(600),
    /^0 321000F3 .*was killed$/,
  ],
  ['install', 'script', { timedOut: true, complaint: 'took 9 s', tail: '' }, answer(600), /^0 321000F2 .*took 9 s$/],
  ['install', 'script', { exitCode: 0, timedOut: true, complaint: 'took 9 s', tail: '' }, answer(600), /^0 321000F2 /],
]

test('exit code and result file together, for each row of the contract', () => {
  for (const [verb, handler, launched, file, expected] of ROWS) {
    assert.match(outcome(verb, handler, launched, file), expected, `${verb} ${handler}`)
  }
})

test('whatever positive code is given, a success has one of its verb; a question and a cancel take no other', () => {
  const VERBS: readonly Verb[] = ['isInstalled', 'download', 'install', 'apply', 'cancel']
  const allowed: Record<Verb, readonly number[]> = {
    isInstalled: [900, 901],
    download: [500],
    install: [600, 603, 605, 606, 607, 608],
    apply: [700, 705, 706, 707, 708],
    cancel: [800, 801],
  }
  for (const verb of VERBS) {
    const found = new Set<number | undefined>()
    for (let code = 1; code < 2000; code++) found.add(successOf(verb, code))
    assert.deepEqual([...found].filter(code => code !== undefined).sort(), allowed[verb], verb)
    const strict = verb === 'isInstalled' || verb === 'cancel'
    assert.equal(successOf(verb, 1), strict ? undefined : DONE[verb])
  }
})

test('an answer has integers of 32 bits, and text only for its details', () => {
  const read = (json: unknown): string => {
    try {
      return JSON.stringify(readAnswer(json))
    } catch (error) {
      assert.ok(error instanceof BadAnswer)
      return error.message
    }
  }
  assert.equal(read({ resultCode: 600 }), '{"resultCode":600,"extendedResultCode":0,"resultDetails":""}')
  assert.match(read({ resultCode: 0, extendedResultCode: -1 }), /4294967295/)
  assert.match(read({ resultCode: 0, extendedResultCode: 0x30501000 }), /810553344/)
  assert.match(read({ resultCode: 1, resultDetails: 'a\u001b[31m\nb' }), /"a\\\\u001b\[31m b"/)
  assert.match(read({ resultCode: 1, resultDetails: 7 }), /"resultDetails":""/)
  for (const [json, why] of [
    [{}, 'has a resultCode that is not a JSON number'],
    [{ resultCode: '600' }, 'has a resultCode that is not a JSON number'],
    [{ resultCode: 0, extendedResultCode: '0x30501000' }, 'has an extendedResultCode that is not a JSON number'],
    [{ resultCode: 600.5 }, 'has a resultCode that is not an integer of 32 bits'],
    [{ resultCode: 0, extendedResultCode: 2 ** 32 }, 'has an extendedResultCode that is not an integer of 32 bits'],
    [null, 'is not a JSON object'],
    [[600], 'is not a JSON object'],
  ] as const) {
    assert.equal(read(json), why)
  }
})

test('whatever a script does: a success is one of its verb, and a failure has a code and a sentence', () => {
  const launches: readonly Launched[] = [
    OK,
    ...[1, 75, 127, 255].map(exitCode => ({ exitCode, complaint: `failed with exit code ${exitCode}`, tail: '' })),
    { signal: 'SIGXFSZ', complaint: 'was killed by SIGXFSZ', tail: '' },
    { timedOut: true, exitCode: 0, complaint: 'did not end within 1 s', tail: '' },
    { complaint: 'could not be started', tail: '' },
  ]
  const codes = [-1, 0, 1, 500, 600, 603, 605, 607, 700, 706, 708, 800, 801, 900, 901, 1000, 2 ** 31]
  const files = [MISSING, ...codes.flatMap(code => [0, 0x30501234].map(extended => answer(code, extended)))]
  let successes = 0
  for (const verb of ['isInstalled', 'download', 'install', 'apply', 'cancel'] as const) {
    for (const handler of ['script', 'swupdate'] as const) {
      for (const launched of launches) {
        for (const file of files) {
          const { resultCode, extendedResultCode, resultDetails } = outcomeOf(verb, handler, launched, file)
          if (resultCode > 0) {
            successes += 1
            assert.deepEqual([launched.exitCode, launched.timedOut], [0, undefined])
            assert.equal(successOf(verb, resultCode), resultCode)
          } else {
            assert.equal(resultCode, 0)
            assert.ok(extendedResultCode > 0 && resultDetails.startsWith("the script's action "))
          }
        }
      }
    }
  }
  assert.ok(successes > 50)
})
