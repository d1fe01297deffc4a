#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { addBundle } from './commands/bundle.ts'
import { addFleet } from './commands/fleet.ts'
import { addImportManifest } from './commands/import-manifest.ts'
import { addTrigger } from './commands/trigger.ts'
import { addWatch } from './commands/watch.ts'
import { EXIT, Failure } from './failure.ts'

const EXIT_CODES = `
Exit codes:
  ${EXIT.ok}   all is well: the update is on the device, the file is in order
  ${EXIT.failed}   the update failed, or what was checked is not in order
  ${EXIT.refused}   the device refused the call: a bad call, or another update is running
  ${EXIT.unavailable}   the hub, the device or a file could not be reached
  ${EXIT.denied}   the hub does not let this connection string do that
  ${EXIT.stopped}   stopped by Ctrl-C: only the watching, never the update
  ${EXIT.usage}  a mistake on the command line, in a file or in the environment
  ${EXIT.bug}  a fault of this program`

const program = new Command('pi-adu-operator')
  .description(
    'The operator’s side: orders firmware updates through IoT Hub, follows them, makes bundles and manifests',
  )
  .exitOverride()
  .addHelpText('after', EXIT_CODES)

addTrigger(program)
addWatch(program)
addFleet(program)
addImportManifest(program)
addBundle(program)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  } else if (error instanceof Failure) {
    process.stderr.write(`pi-adu-operator: ${error.message}\n`)
    process.exitCode = error.exitCode
  } else {
    process.stderr.write(`pi-adu-operator: a fault of this program\n${error instanceof Error ? error.stack : error}\n`)
    process.exitCode = EXIT.bug
  }
}
// What is still under way when the watching ends, such as a call to a hub that is away, would keep us for its time.
process.exit()
