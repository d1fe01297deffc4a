import { stat } from 'node:fs/promises'
import { connected } from '../../control/connection.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { capabilitiesOf } from '../../steps/capabilities.ts'
import { readSettings, type StepSettings } from '../../steps/settings.ts'
import { ownerOf } from '../../steps/users.ts'
import { type Finding, fail, ok } from './finding.ts'

/** What the step service would do; undefined on a device without its settings, which takes images only. Starts the service. */
export async function steps(paths: {
  readonly settings: string
  readonly socket: string
}): Promise<Finding | undefined> {
  if (!(await stat(paths.settings).catch(() => undefined))) return undefined
  try {
    const settings = await readSettings(paths.settings)
    if (settings.scripts.run === 'on') await ownerOf(settings.scripts.user, AbortSignal.timeout(10_000))
    await listens(paths.socket)
    return ok('steps', await wordsOf(settings))
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    return fail('steps', error.message, 'Correct it; until then this device takes system images only.')
  }
}

async function wordsOf(settings: StepSettings): Promise<string> {
  const { scripts, packages, ownHandlers } = await capabilitiesOf(settings)
  const own = ownHandlers.length > 0 ? `, handlers of its own: ${ownHandlers.join(', ')}` : ''
  const apt =
    packages === 'yes'
      ? 'on'
      : { off: 'off', noApt: 'not possible without apt', readOnlyRoot: 'not possible, because the root is read-only' }[
          packages
        ]
  return `scripts are ${scripts ? `on, as the user ${settings.scripts.user}` : 'off'}, packages are ${apt}${own}`
}

async function listens(path: string): Promise<void> {
  try {
    const socket = await connected(path, AbortSignal.timeout(10_000))
    socket.destroy()
  } catch (error) {
    // Whoever may not give orders can at least see that there is a socket.
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return
    throw new AgentError('STEP_SERVICE', `the step service at ${path} cannot be reached: ${messageOf(error)}`)
  }
}
