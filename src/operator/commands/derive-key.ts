import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { checkedKey, derivedKey } from '../factory/device-key.ts'
import { checkedRegistrationId } from '../factory/names.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { readInput, textOf } from '../input.ts'
import { print, writeNew } from '../output.ts'

interface Options {
  readonly groupKeyFile: string
  readonly out?: string
  readonly json: boolean
}

const HELP = `
Example:
  pi-adu-operator derive-key --group-key-file group.key --out keys pi-0001 pi-0002
      writes keys/pi-0001/dps.key and keys/pi-0002/dps.key, mode 0600; never over another key
Without --out the keys are printed. The group's key itself never belongs on a device.
`

export function addDeriveKey(program: Command): void {
  program
    .command('derive-key')
    .description('derives the keys of devices from the key of their enrollment group')
    .argument('<registration-id...>', 'the devices')
    .requiredOption('--group-key-file <file>', 'file with the primary or secondary key of the group, base64')
    .option('--out <folder>', 'write a file per device instead of printing the keys')
    .option('--json', 'print JSON', false)
    .addHelpText('after', HELP)
    .action(deriveKeys)
}

async function deriveKeys(given: readonly string[], { groupKeyFile, out, json }: Options): Promise<void> {
  const ids = given.map(id => checkedRegistrationId(id, JSON.stringify(id)))
  const group = checkedKey(textOf(await readInput(groupKeyFile), groupKeyFile), groupKeyFile)
  const keys = ids.map(id => ({ registrationId: id, key: derivedKey(group, id) }))
  if (out === undefined)
    return print(
      json,
      keys,
      keys.map(({ registrationId, key }) => `${registrationId}  ${key}`),
    )
  const files = keys.map(({ registrationId }) => join(out, registrationId, 'dps.key'))
  for (const { registrationId, key } of keys) {
    await mkdir(join(out, registrationId), { recursive: true, mode: 0o700 }).catch(cause => {
      throw new Failure(EXIT.unavailable, `cannot write to ${out}: ${messageOf(cause)}`, { cause })
    })
    await writeNew(join(out, registrationId, 'dps.key'), `${key}\n`, 0o600)
  }
  print(json, files, files)
}
