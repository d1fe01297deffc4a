// Stands in for the agent in tests of the bootloader: reads the device's configuration and does what data/plan.json says.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** `commit`: as a healthy agent does. `die`: ends at once. `updates`: commits, then installs data/next.img again and again. */
export interface Plan {
  readonly do: 'idle' | 'commit' | 'die' | 'updates'
}

const config = JSON.parse(readFileSync(process.argv[4]!, 'utf8'))
const { versionFile, kernelCommandLine, bootState, slots, host } = config.piAdu
const plan: Plan = JSON.parse(readFileSync(join(config.dataFolder, 'plan.json'), 'utf8'))
const booted = /adu\.slot=(\w)/.exec(readFileSync(kernelCommandLine, 'utf8'))![1]!
const other = booted === 'a' ? 'b' : 'a'

const say = (event: string, fields: object = {}) => process.stderr.write(`${JSON.stringify({ event, ...fields })}\n`)
const run = (...argv: string[]) =>
  execFileSync(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
const bootEnv = () =>
  Object.fromEntries(
    run('fw_printenv', '-c', bootState.fwEnvConfig)
      .trim()
      .split('\n')
      .map(line => line.split('=')),
  )

function setBootEnv(primary: string, trial: string, tries: number): void {
  const script = join(dirname(versionFile), '../../boot-script')
  writeFileSync(script, `primary=${primary}\ntrial=${trial}\ntries=${tries}\n`)
  run('fw_setenv', '-c', bootState.fwEnvConfig, '-s', script)
}

say('start', { version: readFileSync(versionFile, 'utf8').trim(), cwd: process.cwd(), booted })
if (plan.do === 'die') process.exit(1)
process.on('SIGTERM', () => {
  say('stopped')
  process.exit(0)
})
setInterval(() => {}, 60_000)

if (plan.do !== 'idle') {
  if (bootEnv().trial === 'pending') {
    setBootEnv(booted, 'none', 0)
    say('commit')
  }
}
if (plan.do === 'updates') {
  run('dd', `if=${join(config.dataFolder, 'next.img')}`, `of=${slots[other].device}`, 'conv=notrunc,fsync')
  setBootEnv(other, 'pending', 3)
  say('activate', { slot: other })
  run(host.rebootCommand[0])
}
