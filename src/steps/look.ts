import type { Look } from '../handlers/read-steps-on.ts'
import { capabilitiesOf } from './capabilities.ts'
import { componentsOf } from './components.ts'
import { readSettings } from './settings.ts'

/** The agent's look at what its device lets steps do: at the service's settings in `file`, so that both give the same answer. */
export const lookAt =
  (file: string): Look =>
  async (components, signal) => {
    const settings = await readSettings(file)
    const list = components ? await componentsOf(settings, signal) : undefined
    return { ...(await capabilitiesOf(settings)), ...(list ? { components: list } : {}) }
  }
