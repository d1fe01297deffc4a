#!/usr/bin/env node
import { commandLine } from '../cli/command-line.ts'
import { lineByLine, onOneLine } from '../domain/terminal.ts'
import { addAptManifest } from './commands/apt-manifest.ts'
import { addBundle } from './commands/bundle.ts'
import { addCa } from './commands/ca.ts'
import { addCards } from './commands/cards.ts'
import { addDeriveKey } from './commands/derive-key.ts'
import { addDisable } from './commands/disable.ts'
import { addEnrol } from './commands/enrol.ts'
import { addExplain } from './commands/explain.ts'
import { addFleet } from './commands/fleet.ts'
import { addIdentities } from './commands/identities.ts'
import { addImportManifest } from './commands/import-manifest.ts'
import { addLogs } from './commands/logs.ts'
import { addOffline } from './commands/offline.ts'
import { addReprovision } from './commands/reprovision.ts'
import { addTrigger } from './commands/trigger.ts'
import { addWatch } from './commands/watch.ts'
import { EXIT, Failure } from './failure.ts'
import { endOnInterrupt } from './follow.ts'

const EXIT_CODES = `
Exit codes:
  ${EXIT.ok}   success: the update is on the device, or the file is valid
  ${EXIT.failed}   the update failed, or the file is not valid
  ${EXIT.refused}   the device refused the call: it was bad, or another update is running
  ${EXIT.unavailable}   the hub or the device cannot be reached, or a file cannot be written
  ${EXIT.denied}   the hub denies this connection string permission
  ${EXIT.stopped}   stopped by Ctrl-C, SIGTERM or SIGHUP: the watching ends, the update continues
  ${EXIT.usage}  a mistake on the command line, in a file, or in the environment
  ${EXIT.bug}  a bug in this program`

const program = commandLine(
  'pi-adu-operator',
  'The operator’s side: orders firmware updates through IoT Hub, follows them, makes bundles and manifests',
).addHelpText('after', EXIT_CODES)

addTrigger(program)
addWatch(program)
addFleet(program)
addLogs(program)
addImportManifest(program)
addAptManifest(program)
addBundle(program)
addCa(program)
addDeriveKey(program)
addDisable(program)
addReprovision(program)
addEnrol(program)
addCards(program)
addIdentities(program)
addOffline(program)
addExplain(program)

endOnInterrupt()
try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof Failure) {
    process.stderr.write(`pi-adu-operator: ${onOneLine(error.message)}\n`)
    process.exitCode = error.exitCode
  } else {
    const stack = error instanceof Error ? error.stack : undefined
    process.stderr.write(`pi-adu-operator: a bug in this program\n${lineByLine(stack ?? String(error))}\n`)
    process.exitCode = EXIT.bug
  }
}
// A call that is still under way, for example to an unreachable hub, would otherwise keep the process alive.
process.exit()
