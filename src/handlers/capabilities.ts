import type { Component } from '../domain/deployment.ts'
import type { Terms } from '../trust/terms.ts'

/** What this device lets the steps of a deployment do. Facts about the device; a handler refuses a step that needs more. */
export interface Capabilities {
  /** Whether it has two slots, and a boot state that says which one starts. */
  readonly images: boolean
  /** Whether scripts of a deployment run: the device's owner says so in the settings of the step service. */
  readonly scripts: boolean
  /** Whether packages can be installed, or why not. */
  readonly packages: 'yes' | 'readOnlyRoot' | 'noApt' | 'off'
  /** The file names of the owner's own handlers. */
  readonly ownHandlers: readonly string[]
  /** The parts behind this device. Undefined: no list is configured, and reference steps are for the device itself. */
  readonly components?: readonly Component[]
  /** What this device is, for child manifests; undefined: not compared. */
  readonly properties?: Readonly<Record<string, string>>
}

/** A device that takes images and nothing else. */
export const IMAGES_ONLY: Capabilities = { images: true, scripts: false, packages: 'readOnlyRoot', ownHandlers: [] }

/** The same device, with what child manifests are compared against. */
export const withProperties = (
  device: Capabilities,
  { compatibility, properties }: Pick<Terms, 'compatibility' | 'properties'>,
): Capabilities => (compatibility === 'enforce' && properties ? { ...device, properties } : device)

/** The root-owned settings of the step service, as error messages name them. */
export const STEP_SETTINGS = '/etc/pi-adu/steps.json'
