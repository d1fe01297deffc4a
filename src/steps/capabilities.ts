import { readdir } from 'node:fs/promises'
import { packagesHere } from '../adapters/system/packages.ts'
import type { Capabilities } from '../handlers/capabilities.ts'
import type { StepSettings } from './settings.ts'

/**
 * What this device lets steps do, by the service's settings and what is installed. The service has no part in images, so it does not
 * refuse them for the agent.
 */
export async function capabilitiesOf({ packages, scripts, handlersFolder }: StepSettings): Promise<Capabilities> {
  return {
    images: true,
    scripts: scripts.run === 'on',
    packages: packages.run === 'off' ? 'off' : await packagesHere(),
    ownHandlers: await namesIn(handlersFolder),
  }
}

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])
