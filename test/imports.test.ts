import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../image/builder/repository.ts'

const src = join(repositoryRoot(), 'src')

/**
 * The rooms of `src/`, each with those it may import beside itself. A room may only import those above it, so there is no
 * circle; `bundle/allowance.ts` and the like name one file of a room.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  // Result codes in words, for both programs.
  explain: ['domain'],
  // What a bundle is, for the agent, the operator's side and the bench.
  bundle: ['domain'],
  // What the agent shows of itself, and how it changes.
  view: ['domain'],
  ports: ['domain', 'view'],
  timing: ['domain', 'ports'],
  // What an owner puts onto the boot partition for network and first start.
  preseed: ['domain'],
  // When an update has to wait.
  gates: ['domain'],
  lights: ['domain', 'ports', 'view', 'gates/window.ts'],
  control: ['domain', 'ports', 'view'],
  // A page for browsers in front of the device.
  page: ['domain', 'ports', 'view', 'control', 'lights'],
  trust: ['domain'],
  // Verified manifest steps in, plans out: it knows what a step asks for, and nothing of how that is done.
  handlers: ['domain', 'trust'],
  delivery: ['domain', 'bundle', 'ports', 'timing', 'trust'],
  hub: ['domain', 'ports', 'timing'],
  // What the twin holds beside the deployment.
  twin: ['domain', 'ports', 'view', 'hub', 'timing'],
  sources: ['domain', 'ports', 'timing', 'trust', 'handlers', 'delivery', 'hub'],
  workflow: ['domain', 'bundle', 'ports', 'timing', 'trust', 'delivery', 'sources', 'view', 'gates'],
  config: ['domain', 'bundle/allowance.ts', 'gates/window.ts'],
  adapters: ['domain', 'bundle', 'ports', 'view', 'steps/protocol.ts', 'control/connection.ts'],
  // The step service: a program of its own, as root. It verifies with the agent's code, and has nothing of hub and network.
  steps: [
    ...['domain', 'ports', 'trust', 'handlers', 'control/address.ts'],
    ...[
      'adapters/files/atomic-file.ts',
      'adapters/files/disk.ts',
      'adapters/system/exec.ts',
      'adapters/system/log.ts',
      'adapters/system/packages.ts',
      'adapters/system/program.ts',
    ],
  ],
  // The only place that builds adapters.
  'compose.ts': [
    ...[
      'domain',
      'bundle',
      'ports',
      'lights',
      'trust',
      'handlers',
      'sources',
      'workflow',
      'config',
      'adapters',
      'gates',
    ],
    ...['cli/version.ts', 'steps/look.ts'],
  ],
  cli: [
    ...[
      'domain',
      'explain',
      'ports',
      'view',
      'control',
      'lights',
      'page',
      'twin',
      'trust',
      'handlers',
      'gates',
      'workflow',
      'config',
      'adapters',
      'preseed',
    ],
    // What `pi-adu doctor` looks at.
    ...['steps/capabilities.ts', 'steps/settings.ts', 'steps/users.ts'],
    'compose.ts',
  ],
  'main.ts': ['domain', 'explain', 'adapters/system/log.ts', 'cli', 'config'],
  // A program of its own, on another machine: it shares words and retrying with the agent, and the agent nothing with it.
  operator: [
    'domain',
    'explain',
    'bundle',
    'timing',
    // What devices read in a manifest.
    'trust',
    'handlers',
    // What the image reads on a card.
    'preseed',
    'adapters/system/clock.ts',
    'cli/command-line.ts',
    'cli/live-view.ts',
    'cli/question.ts',
    // What devices read in a configuration.
    'config/config.ts',
  ],
}

const roomOf = (file: string): string => file.split('/')[0] ?? ''

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'))

/** Every file with its imports of our own files. */
function importsOf(file: string): readonly string[] {
  const text = readFileSync(join(src, file), 'utf8')
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(match => match[1] ?? '')
  return found.map(each => relative(src, resolve(src, dirname(file), each)))
}

test('src/ has its rooms, main.ts and compose.ts, and nothing else', () => {
  const found = readdirSync(src).filter(name => !['README.md', 'architecture.svg'].includes(name))
  assert.deepEqual(found.sort(), Object.keys(ROOMS).sort())
})

test('imports point one way, without a circle', () => {
  const names = Object.keys(ROOMS)
  for (const [room, allowed] of Object.entries(ROOMS)) {
    for (const each of allowed) {
      // One file of a later room, which itself imports nothing of it.
      if (each.includes('/')) continue
      assert.ok(names.indexOf(each) < names.indexOf(room), `${room} may import ${each}, which comes later`)
    }
  }
  for (const file of files) {
    const room = roomOf(file)
    const allowed = ROOMS[room] ?? assert.fail(`${file} is in no known room`)
    for (const target of importsOf(file)) {
      const fine = roomOf(target) === room || allowed.includes(roomOf(target)) || allowed.includes(target)
      assert.ok(fine, `${file} imports ${target}`)
    }
  }
})

test('no file has more than 250 lines, unless its first comment says why', () => {
  for (const file of files) {
    const text = readFileSync(join(src, file), 'utf8')
    if (text.split('\n').length <= 250) continue
    assert.match(text, /^(\/\/|\/\*)[^\n]*\blines\b/, `${file} has ${text.split('\n').length} lines`)
  }
})

test('only trust/ makes verified values', () => {
  for (const file of files.filter(each => !each.startsWith('trust/'))) {
    assert.doesNotMatch(readFileSync(join(src, file), 'utf8'), /\bas\s+Verified\b/, file)
  }
})

test('the bench, the operator’s side and their libraries are no part of the agent', () => {
  for (const file of files.filter(each => !each.startsWith('operator/'))) {
    const text = readFileSync(join(src, file), 'utf8')
    assert.doesNotMatch(text, /(from|import\() ?'(azure-iothub|jose|fast-check|\.\.\/.*test\/)/, file)
    // Loaded for a person at a terminal only.
    if (file !== 'cli/live-view.ts') assert.doesNotMatch(text, /'log-update'/, file)
    else assert.doesNotMatch(text, /from 'log-update'/, file)
  }
})
