// The agent of a device whose new system, version 2.0.0, has an agent to come: it writes a journal of a newer format, falls back by
// itself, and the agent of today reads what it wrote. In every other system it is the agent of today.
//   node newer-agent.js run --config FILE
import { readFile } from 'node:fs/promises'
import { writeAtomically } from '../../src/adapters/files/atomic-file.ts'
import { sealed } from '../../src/adapters/files/sealed.ts'
import { jsonLog } from '../../src/adapters/system/log.ts'
import { localPorts } from '../../src/compose.ts'
import { journalFile, readConfig } from '../../src/config/config.ts'
import { EXTENDED_RESULT_CODE } from '../../src/domain/result-codes.ts'
import { asNewer } from '../workflow/newer-journal.ts'

const config = await readConfig(process.argv[process.argv.indexOf('--config') + 1] ?? '')
const { boot, host } = localPorts(config, jsonLog(false))
if ((await host.version()) !== '2.0.0') await import('../../src/main.ts')
else {
  const [line = ''] = (await readFile(journalFile(config), 'utf8')).split('\n')
  const cause = { extendedResultCode: EXTENDED_RESULT_CODE.HEALTH, details: 'a check of the future has failed' }
  await writeAtomically(
    journalFile(config),
    sealed(asNewer(JSON.parse(line), { cause, milestones: ['agent started', 'moon reached'] })),
  )
  const { signal } = new AbortController()
  await boot.fallBack(signal)
  await host.reboot([], signal)
  // Until the machine goes down.
  setInterval(() => {}, 60_000)
}
