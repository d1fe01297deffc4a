import { AgentError } from '../domain/errors.ts'
import { apt1 } from './apt/apt.ts'
import type { Capabilities } from './capabilities.ts'
import type { StepHandler } from './handler.ts'
import { handlerFileOf, ownHandler } from './own/own.ts'
import { script1 } from './script/script.ts'
import { swupdate1, swupdate2 } from './swupdate/swupdate.ts'

/** Every handler by its id, as manifests spell it. */
const HANDLERS: ReadonlyMap<string, StepHandler> = new Map<string, StepHandler>([
  ['microsoft/apt:1', apt1],
  ['microsoft/script:1', script1],
  ['microsoft/swupdate:1', swupdate1],
  ['microsoft/swupdate:2', swupdate2],
])

/** Errors: AgentError `HANDLER_UNKNOWN`, as the reference agent reports for an unregistered handler. */
export function handlerOf(id: string, device: Capabilities): StepHandler {
  const handler = HANDLERS.get(id)
  if (handler) return handler
  if (device.ownHandlers.includes(handlerFileOf(id))) return ownHandler
  const has = idsFor(device).join(', ')
  throw new AgentError('HANDLER_UNKNOWN', `this device has no handler "${id.slice(0, 64)}"; it has ${has}`)
}

/** Those that this device takes. */
function idsFor({ images, packages, scripts }: Capabilities): readonly string[] {
  const lacking = new Map([
    ['microsoft/apt:1', packages !== 'yes'],
    ['microsoft/script:1', !scripts],
    ['microsoft/swupdate:1', !images],
    // With a script it is the script that does the work.
    ['microsoft/swupdate:2', !images && !scripts],
  ])
  return [...HANDLERS.keys()].filter(id => !lacking.get(id))
}
