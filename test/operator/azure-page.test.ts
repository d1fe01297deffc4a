import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { AZ_COMMANDS, AZ_EVERYWHERE } from './az-commands.ts'

const PAGES = ['src/operator/AZURE.md', 'src/operator/README.md', 'README.md']

/** What is wrong with a command of the Azure CLI, without its leading `az`; undefined if it is known as it stands. */
function flawOf(command: string): string | undefined {
  const words = command.split(/\s+/)
  const end = words.findIndex(word => !/^[a-z][a-z-]*$/.test(word))
  const name = words.slice(0, end === -1 ? words.length : end).join(' ')
  const known = AZ_COMMANDS[name]
  if (!known) return `no command "az ${name}"`
  const flags = words.filter(word => word.startsWith('-'))
  const unknown = flags.find(flag => !flag.startsWith('--') || ![...known, ...AZ_EVERYWHERE].includes(flag.slice(2)))
  if (unknown !== undefined) return `"az ${name}" has no option ${unknown}`
  return flags.find((flag, index) => flags.indexOf(flag) !== index)
}

/** In code blocks, where a command may be inside $(…), and in the text between backticks. */
function commandsIn(page: string): readonly string[] {
  const text = readFileSync(join(repositoryRoot(), page), 'utf8').replace(/ \\\n +/g, ' ')
  const lines = text.split('\n').filter(line => line.startsWith('    '))
  const blocks = lines.flatMap(line => [...line.matchAll(/(?:^ +|\$\()az ([^)]*?)\s*(?=\)|$)/g)])
  return [...blocks, ...text.matchAll(/`az ([^`]+)`/g)].map(match => match[1] ?? '')
}

test('every command of the Azure CLI on the pages exists, with its options', () => {
  const found = PAGES.flatMap(page => commandsIn(page).map(command => [page, command] as const))
  assert.ok(found.length >= 30, `${found.length} commands found`)
  for (const [page, command] of found) assert.equal(flawOf(command), undefined, `${page}: az ${command}`)
})

test('the check finds misspelt commands and options', () => {
  for (const [command, expected] of [
    ['iot du update stage --account $DU --then-import', undefined],
    ['iot du updates list', 'no command "az iot du updates list"'],
    ['iot dps create --name $DPS --group x', '"az iot dps create" has no option --group'],
    ['iot dps create -g x', '"az iot dps create" has no option -g'],
    ['login --output tsv --output json', '--output'],
  ] as const) {
    assert.equal(flawOf(command), expected, command)
  }
})
