import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../image/build/repository.ts'

const src = join(repositoryRoot(), 'src')

/** What each part may import, beside itself: domain ← trust ← workflow ← agent ← main, and only main sees adapters. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  ports: ['domain', 'workflow/mood.ts'],
  trust: ['domain'],
  workflow: ['domain', 'ports', 'trust'],
  core: ['domain', 'ports', 'trust', 'workflow'],
  config: ['domain'],
  adapters: ['domain', 'ports', 'workflow/mood.ts', 'workflow/report.ts'],
  main: ['domain', 'ports', 'trust', 'workflow', 'core', 'config', 'adapters'],
  // A program of its own, on another machine: it shares words with the agent, and the agent nothing with it.
  operator: ['domain'],
}

const TOP: Readonly<Record<string, string>> = {
  'ports.ts': 'ports',
  'config.ts': 'config',
  'main.ts': 'main',
  'compose.ts': 'main',
  'verify-command.ts': 'main',
  'run-command.ts': 'main',
  'status-command.ts': 'main',
  'refusal.ts': 'main',
  'version.ts': 'main',
}

/** `domain`, `trust`, …; files at the top that are not named are the core: the agent and what it keeps. */
const partOf = (file: string): string => (file.includes('/') ? (file.split('/')[0] ?? '') : (TOP[file] ?? 'core'))

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'))

/** Every file with its code's imports of our own files; types may be looked at from anywhere below. */
function importsOf(file: string): readonly string[] {
  const text = readFileSync(join(src, file), 'utf8')
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(match => match[1] ?? '')
  return found.map(each => relative(src, resolve(src, dirname(file), each)))
}

test('imports point one way', () => {
  assert.ok(files.length > 20)
  for (const file of files) {
    const part = partOf(file)
    const allowed = MAY_IMPORT[part]
    assert.ok(allowed, `${file} is in no known part`)
    for (const target of importsOf(file)) {
      const fine = partOf(target) === part || allowed.includes(partOf(target)) || allowed.includes(target)
      assert.ok(fine, `${file} (${part}) imports ${target} (${partOf(target)})`)
    }
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
    assert.doesNotMatch(text, /(from|import\() ?'(azure-iothub|jose|fast-check|log-update|\.\.\/.*test\/)/, file)
  }
})
