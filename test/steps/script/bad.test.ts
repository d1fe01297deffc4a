import assert from 'node:assert/strict'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ercText } from '../../../src/domain/result-codes.ts'
import { groupLauncher, type Launcher } from '../../../src/steps/launch.ts'
import { ScriptWorker } from '../../../src/steps/script/worker.ts'
import { StepFolders } from '../../../src/steps/step-folder.ts'
import { aService, type Bench } from '../support.ts'

const workers = { script: new ScriptWorker() }

/** Reads the arguments as the published scripts do, and says with `answer` what it did. */
const HEAD = `#!/bin/sh
while [ "$1" != "" ]; do
  case $1 in
    --result-file) shift; result=$1 ;;
    --work-folder) shift; work=$1 ;;
  esac
  shift
done
answer() { echo "{\\"resultCode\\":$1, \\"extendedResultCode\\":0,\\"resultDetails\\":\\"\\"}" > "$result"; }
`

/** The result of a script as one line: both codes and the details. */
async function outcome(service: Bench, script: string): Promise<string> {
  const order = await service.order({ files: { 'run.sh': `${HEAD}${script}\n` } })
  const result = await service.run(order)
  assert.ok(typeof result === 'object', String(result))
  return `${result.resultCode} ${ercText(result.extendedResultCode)} ${result.resultDetails}`
}

const ROWS: readonly [what: string, script: string, outcome: RegExp][] = [
  [
    'no result file',
    'echo "cannot open the port"; exit 0',
    /^0 30500205 .*is missing; it printed: cannot open the port$/,
  ],
  ['a malformed one', 'echo "{resultCode:600}" > "$result"', /^0 30500205 .*is not valid JSON/],
  [
    'a code in hexadecimal',
    'echo \'{"resultCode":0,"extendedResultCode":0x30501001}\' > "$result"',
    /^0 30500205 .*without quotes and 0x/,
  ],
  ['a code in quotes', 'echo \'{"resultCode":"600"}\' > "$result"', /^0 30500205 .*not a JSON number/],
  ['a huge one', 'head -c 100000 /dev/zero > "$result"', /^0 30500205 .*larger than 64 KiB/],
  ['a link for it', 'ln -s /etc/passwd "$result"', /^0 30500205 .*is a link/],
  ['a link to a device for it', 'ln -s /dev/zero "$result"', /^0 30500205 .*is a link/],
  ['a FIFO for it', 'mkfifo "$result"', /^0 30500205 .*not a regular file/],
  ['a folder for it', 'mkdir "$result"', /^0 30500205 .*not a regular file/],
  ['its folder gone', 'rm -rf "$work" 2> /dev/null; exit 0', /^0 30500205 /],
  ['a result elsewhere', 'result="$work/../elsewhere.json"; answer 600; rm -f "$result"', /^0 30500205 .*is missing/],
  ['a negative code', 'answer -4711', /^0 30500206 /],
  ['a failure without a code', 'answer 0', /^0 30500206 /],
  ['an exit code in spite of a success', 'answer 600; exit 9', /^0 30501009 .*failed with exit code 9/],
  ['a command that is missing', 'set -e; no-such-command', /^0 3050107F .*it printed: .*no-such-command/],
  ['a signal to itself', 'answer 600; kill -9 $$', /^0 321000F3 /],
  ['control characters', 'printf "\\033[2J\\001gone\\n"; exit 1', /^0 30501001 .*it printed: \\u001b\[2J\\u0001gone$/],
]

test('every bad answer of a script has its code and a sentence', async t => {
  const service = await aService(t, { workers })
  assert.match(await outcome(service, 'answer 600'), /^600 00000000 $/)
  for (const [what, script, expected] of ROWS) assert.match(await outcome(service, script), expected, what)
})

test('a result that an earlier call left is not taken for the answer of this one', async t => {
  const service = await aService(t, { workers })
  const script = `${HEAD}[ -e "$work/done" ] || answer 600; touch "$work/done"\n`
  const order = await service.order({ files: { 'run.sh': script } })
  const codes = []
  for (const verb of ['install', 'apply'] as const) {
    const result = await service.run({ ...order, id: `${order.id}-${codes.length}`, verb })
    codes.push(typeof result === 'object' && ercText(result.extendedResultCode))
  }
  assert.deepEqual(codes, ['00000000', '30500205'])
})

/** The ids that a script wrote to `pids`, none of which may be running any more. */
async function nothingLeft(file: string): Promise<void> {
  const pids = (await readFile(file, 'utf8')).trim().split('\n').map(Number)
  assert.ok(pids.length > 0 && pids.every(pid => pid > 1))
  const isRunning = async (pid: number): Promise<boolean> => {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    return stat !== '' && !/\) Z /.test(stat)
  }
  for (let tries = 0; tries < 100; tries++) {
    const left = await Promise.all(pids.map(isRunning))
    if (!left.includes(true)) return
    await sleep(50)
  }
  assert.fail(`left running: ${pids}`)
}

async function limited(t: TestContext, launcher: Launcher = groupLauncher): Promise<{ service: Bench; pids: string }> {
  const service = await aService(t, { workers, launcher, settings: { limits: { seconds: 1 } } })
  return { service, pids: join(service.dir, 'effects') }
}

test('a script that hangs, ignores SIGTERM and has children is ended with them after its time', async t => {
  const { service, pids } = await limited(t)
  const script = `trap '' TERM; echo $$ >> '${pids}'
    (trap '' TERM HUP; sleep 300 & echo $! >> '${pids}'; while :; do sleep 300; done) & echo $! >> '${pids}'
    answer 600; while :; do sleep 300; done`
  assert.match(await outcome(service, script), /^0 321000F2 the script's action install /)
  await nothingLeft(pids)
})

test('what a script leaves behind in the background ends with it, and its result counts', async t => {
  const service = await aService(t, { workers })
  const pids = join(service.dir, 'effects')
  const children = `for i in 1 2 3 4 5; do sleep 300 > /dev/null 2>&1 & echo $! >> '${pids}'; done`
  assert.match(await outcome(service, `${children}; answer 606`), /^606 /)
  await nothingLeft(pids)
})

test('a script that prints a gigabyte fills no memory, and the end of it is kept', async t => {
  const service = await aService(t, { workers })
  const before = process.memoryUsage().rss
  const script = 'head -c 1000000000 /dev/zero | tr "\\0" x; echo; echo the end; exit 4'
  const said = await outcome(service, script)
  assert.match(said, /^0 30501004 .*; the end$/)
  assert.ok(said.length < 1000)
  const grown = (process.memoryUsage().rss - before) / 1e6
  assert.ok(grown < 150, `${grown} MB more`)
})

test('a file that grows beyond the limit ends its writer', async t => {
  // The limit that systemd sets in a unit, by other means.
  const limitedFiles: Launcher = (folder, limits) => {
    const launch = groupLauncher(folder, limits)
    return (command, options) => launch(['prlimit', '--fsize=1000000', '--', ...command], options)
  }
  const service = await aService(t, { workers, launcher: limitedFiles })
  const script = 'set -e; head -c 100000000 /dev/zero > "$work/big"; answer 600'
  assert.match(await outcome(service, script), /^0 30501[0-9A-F]{3} .*failed with exit code \d+/)
})

test('the folder of a step that has filled the disk makes room, and any other stays', async t => {
  const service = await aService(t, { workers })
  const kept = join(service.dir, 'kept')
  await mkdir(kept)
  await new StepFolders(service.dir).makeRoom(kept)
  assert.ok((await readdir(service.dir)).includes('kept'))
  await new StepFolders(service.dir, Number.MAX_SAFE_INTEGER).makeRoom(kept)
  assert.ok(!(await readdir(service.dir)).includes('kept'))
})

test('a cancelled script ends, and so does what it started', async t => {
  const service = await aService(t, { workers })
  const pids = join(service.dir, 'effects')
  const script = `${HEAD}
    case "$result" in *cancel*) [ -e "$work/begun" ] && answer 800; exit 0 ;; esac
    touch "$work/begun"; echo $$ >> '${pids}'; sleep 300 & echo $! >> '${pids}'; wait`
  const order = await service.order({ files: { 'run.sh': script } })
  const running = service.run(order)
  while ((await service.effects()).length < 2) await sleep(20)
  const cancel = await service.run({ ...order, id: `${order.id}-cancel`, verb: 'cancel' })
  const result = await running
  assert.ok(typeof result === 'object' && typeof cancel === 'object')
  // Its own notes are still there for the cancel.
  assert.deepEqual([result.resultCode, cancel.resultCode], [-1, 800])
  await nothingLeft(pids)
})
