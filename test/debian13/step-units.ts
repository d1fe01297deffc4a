import assert from 'node:assert/strict'
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { StepService } from '../../src/adapters/steps/step-service.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import type { StepResult } from '../../src/domain/step-record.ts'
import type { StepOrder, Verb } from '../../src/ports/steps.ts'
import { Microcontroller } from '../steps/own/microcontroller.ts'
import { answerOf, NEVER, SETTINGS, signed } from '../steps/support.ts'

/** A booted system with the package in it. */
export interface Booted {
  /** A path of the system, as this machine sees it while the system runs. */
  at(path: string): string
  inside(command: string): { readonly status: number | null; readonly said: string }
}

/** In the background, and deaf to SIGTERM. */
const STAYS = `(trap '' TERM; setsid sleep 4321) & setsid sleep 4321 & sleep 1\n`

const RESULT = `while [ "$1" != --result-file ]; do shift; done
echo '{"resultCode":600,"extendedResultCode":0,"resultDetails":"'"$said"'"}' >"$2"
`

const SCRIPTS = {
  looks: `#!/bin/sh
said="$(id -un) $(grep -c NoNewPrivs:.1 /proc/self/status) $(grep -c CapBnd:.0000000000000000 /proc/self/status)"
for file in /etc /usr /var/lib /var/lib/adu /run; do ! touch $file/x 2>/dev/null || said="$said wrote:$file"; done
touch x /tmp/x && said="$said ok"
${STAYS}${RESULT}`,
  hangs: `#!/bin/sh\ntrap '' TERM\n${STAYS}sleep 4321; sleep 4321\n`,
  dies: `#!/bin/sh\nkill -SEGV $$\n`,
  // 6 s long, and says how often it has begun.
  lasts: `#!/bin/sh\necho >>runs\nsleep 6.4321\nsaid="$(wc -l <runs)"\n${RESULT}`,
  words: `#!/bin/sh\nsaid="$2 $3 $4"\n${RESULT}`,
}

/** What the step service does where systemd runs. */
export async function checkStepUnits({ at, inside }: Booted): Promise<void> {
  const settings = { ...SETTINGS, scripts: { run: 'on' }, limits: { seconds: 30 } }
  writeFileSync(at('/etc/pi-adu/steps.json'), JSON.stringify(settings), { mode: 0o644 })
  mkdirSync(at('/var/lib/adu/files'), { recursive: true, mode: 0o700 })
  const keyStore = { read: async () => undefined }
  const service = new StepService({ socket: at('/run/pi-adu-steps/socket'), keyStore, clock: systemClock })
  const order = (name: keyof typeof SCRIPTS, verb: Verb, version: string): StepOrder => {
    const files = { 'a.sh': SCRIPTS[name] }
    writeFileSync(at('/var/lib/adu/files/a.sh'), SCRIPTS[name])
    const properties = { arguments: '$HOME $$ %n' }
    const text = signed({ files, version, properties })
    return { id: `${name}-${verb}`, signed: text, path: [0], verb, folder: '/var/lib/adu/files' }
  }
  const run = (what: StepOrder) => answerOf(service.run(what, () => {}, NEVER))
  const isRunning = (seconds = '4321'): boolean =>
    inside(`grep -als "^sleep.${seconds}" /proc/[0-9]*/cmdline`).status === 0

  const user = inside('setpriv --reuid=nobody --regid=nogroup --clear-groups test -w /run/pi-adu-steps/socket')
  assert.notEqual(user.status, 0, 'another user may write to the socket')
  assert.equal(inside('setpriv --reuid=adu --regid=adu --clear-groups test -w /run/pi-adu-steps/socket').status, 0)

  const looked = await run(order('looks', 'install', '1.0.0'))
  assert.deepEqual(looked, { resultCode: 600, extendedResultCode: 0, resultDetails: 'adu-steps 1 1 ok' })
  assert.equal(isRunning(), false, 'a process is left')

  const words = await run(order('words', 'install', '1.0.1'))
  assert.ok(typeof words === 'object')
  assert.equal(words.resultDetails, '$HOME $$ %n')

  const dead = await run(order('dies', 'install', '1.0.1'))
  assert.ok(typeof dead === 'object')
  assert.match(dead.resultDetails, /was killed by SIGSEGV/)

  await checkOwnHandler(at, run)

  for (const what of ['restart pi-adu-steps.service', 'stop pi-adu-steps.service', 'restart "pi-adu-step-*"']) {
    const lasting = { ...order('lasts', 'install', '1.0.1'), id: `lasts-${what.replaceAll(/\W/g, '')}` }
    const ended = run(lasting)
    while (!isRunning('6[.]4321')) await sleep(100)
    inside(`systemctl ${what} --no-block`)
    const said = await ended
    assert.ok(typeof said === 'object', `${what}: ${said}`)
    // Whoever ends the step itself sees it fail; otherwise it goes on to its end.
    if (what.includes('step-')) assert.match(said.resultDetails, /was killed by SIGKILL/)
    else assert.deepEqual(said, { resultCode: 600, extendedResultCode: 0, resultDetails: '1' }, what)
    assert.equal(isRunning('6[.]4321'), false, `${what}: it has begun again`)
    assert.deepEqual(await run(lasting), said, what)
    const left = () => inside('systemctl list-units --all --plain --no-legend "pi-adu-step-*"').said
    for (let turn = 0; left() !== '' && turn < 100; turn++) await sleep(100)
    assert.equal(left(), '', what)
    inside('rm -rf /var/lib/pi-adu-steps/work')
  }

  const hanging = order('hangs', 'install', '1.0.2')
  const ended = run(hanging)
  while (!isRunning()) await sleep(100)
  inside('systemctl kill --signal=KILL pi-adu-steps.service')
  assert.match(String(await ended), /STEP_UNKNOWN/)
  for (let turn = 0; isRunning() && turn < 100; turn++) await sleep(100)
  assert.equal(isRunning(), false, 'the step goes on without its service')
  assert.equal(inside('systemctl list-units --failed --plain --no-legend "pi-adu-step-*"').said, '')
}

/** The example of `src/steps/own/README.md`, where it belongs: it gets the step on its stdin, in a unit of its own. */
async function checkOwnHandler(
  at: Booted['at'],
  run: (order: StepOrder) => Promise<StepResult | string>,
): Promise<void> {
  const device = await new Microcontroller(at('/var/lib/line')).start()
  const handler = at('/usr/lib/pi-adu/handlers.d/contoso_flasher_1')
  try {
    copyFileSync(join(repositoryRoot(), 'test/steps/own/flasher.mjs'), handler)
    chmodSync(handler, 0o755)
    const firmware = `2\n${'x'.repeat(2000)}`
    writeFileSync(at('/var/lib/adu/files/fw.bin'), firmware)
    const properties = { port: '/var/lib/line', installedCriteria: '2' }
    const text = signed({ handler: 'contoso/flasher:1', version: '1.0.1', files: { 'fw.bin': firmware }, properties })
    const base = { signed: text, path: [0], folder: '/var/lib/adu/files' }
    const fine = (resultCode: number) => ({ resultCode, extendedResultCode: 0, resultDetails: '' })
    for (const [verb, code] of [
      ['isInstalled', 901],
      ['install', 600],
      ['isInstalled', 900],
    ] as const) {
      assert.deepEqual(await run({ ...base, id: `flash-${verb}-${code}`, verb }), fine(code))
    }
    assert.equal(device.image.toString(), firmware)
  } finally {
    device.stop()
    rmSync(handler, { force: true })
  }
}
