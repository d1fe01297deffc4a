import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { figuresOf, type Measurements } from './figures.ts'
import { markdown, summary } from './results.ts'

const install = (ms: number) => [{ ms, cpuSeconds: ms / 500, writtenBytes: 1 << 30, peakMB: 60 }]
const read = (ms: number, peakMB: number) => [{ ms, cpuSeconds: ms / 1000, peakMB }]
const measured: Measurements = {
  imageBytes: 1 << 30,
  installs: {
    agent: install(2000),
    swupdate: install(2500),
    pipe: install(2000),
    staged: install(8000),
    limit: install(4000),
  },
  reads: { own: read(1000, 50), https: read(2000, 60), curl: read(1250, 70) },
  readBytes: 900 << 20,
  notes: ['a note'],
}

test('the page has a row for each reader, and their ratios', () => {
  const figures = figuresOf(measured)
  assert.deepEqual([figures.readVsNodeHttps, figures.readVsCurl], [0.5, 0.8])
  const page = markdown(figures)
  assert.match(page, /\| `readVsNodeHttps` \| 0\.5 \| ≤ 1 \| met \|/)
  assert.match(page, /## Readers\n\n.*\(900 MiB\)/)
  assert.match(page, /\| node:https, one request \| 2\.00 \| 2\.00 \| 60\.0 \| 2\.00 \|/)
  assert.match(page, /\| curl through a pipe, one request \| 1\.25 \| 1\.25 \| 70\.0 \| 1\.25 \|/)
  assert.match(summary(figures), /read by curl through a pipe, one request: 1\.25 s, CPU 1\.25 s, 70\.0 MB/)
})

test('a part that was not measured is null, is not in the summary, and makes no page', () => {
  const { installs, imageBytes, ...rest } = measured
  const figures = figuresOf(rest)
  assert.deepEqual([figures.installVsSwupdate, figures.rssIdleMB, figures.writtenPerImageByte], [null, null, null])
  assert.doesNotMatch(summary(figures), /installVs|NaN/)
  assert.throws(() => markdown(figures), /no installation was measured/)
  assert.match(
    markdown(figuresOf({ installs, imageBytes, notes: [] } as Measurements)),
    /`rssIdleMB` \| – \|.*not measured/,
  )
})

test('a wrong part, number or combination is a mistake, found before anything is built', () => {
  const program = fileURLToPath(new URL('main.js', import.meta.url))
  for (const [args, says] of [
    [['--only', 'installs'], /^bench: --only has no part "installs"; there are start, idle, .*; see --help\n$/],
    [['--only', 'idle', '--write'], /^bench: --write needs all parts/],
    [['--rounds', '0'], /^bench: --rounds must be a whole number from 1/],
  ] as const) {
    const { status, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
    assert.deepEqual([status, says.test(stderr)], [64, true], stderr)
  }
})
