import type { Component, ReferenceStep } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import { bare, selects } from '../../trust/compatibility.ts'
import type { Capabilities } from '../capabilities.ts'

/** Whom the steps of a child manifest are for, or why for nobody. */
export type Targets = { readonly components: readonly Component[] } | 'host' | { readonly nobody: string }

/**
 * Every component that an entry of the child's `compatibility` describes, in the order of the device's list (PROTOCOL.md,
 * "Components"). Without one it is the device itself, if the child describes that; where nobody knows what the device is, any child does
 * that names no member of components alone. Errors: AgentError `CHILD_COMPATIBILITY` for a child
 * that describes nothing, `COMPATIBILITY` for a device that has no list and is not meant.
 */
export function targetsOf({ child, file }: ReferenceStep, { components, properties }: Capabilities): Targets {
  const { compatibility } = child
  const wanted = JSON.stringify(compatibility).slice(0, 200)
  const isHost = properties ? selects(compatibility, properties) : compatibility.some(mayBeHost)
  if (components === undefined) {
    if (isHost || properties === undefined || compatibility.length === 0) return 'host'
    const device = `this device is ${JSON.stringify(properties).slice(0, 200)}, and no components are configured`
    throw new AgentError('COMPATIBILITY', `the child manifest ${file.fileName} is for ${wanted}; ${device}`)
  }
  if (compatibility.length === 0) {
    throw new AgentError(
      'CHILD_COMPATIBILITY',
      `the child manifest ${file.fileName} does not say which components it is for`,
    )
  }
  const chosen = components.filter(each => selects(compatibility, described(each)))
  if (chosen.length > 0) return { components: chosen }
  return isHost ? 'host' : { nobody: `none of the ${components.length} components of this device is ${wanted}` }
}

/** Of a component, and never of a device. */
const COMPONENT_ONLY = ['id', 'name', 'group']

function mayBeHost(entry: object): boolean {
  const names = Object.keys(entry).map(bare)
  return names.length > 0 && !names.some(name => COMPONENT_ONLY.includes(name))
}

/** What a compatibility entry may name. The members of a component come before properties of the same name. */
function described({ properties, ...members }: Component): Readonly<Record<string, string>> {
  const texts = Object.entries(members).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  const taken = new Set(texts.map(([name]) => name))
  const more = Object.entries(properties).filter(([name]) => !taken.has(bare(name)))
  return Object.fromEntries([...texts, ...more])
}
