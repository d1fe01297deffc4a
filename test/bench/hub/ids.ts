/** A module's id in the hub is `device/module`; no device id has a slash in it. */

export const moduleId = (device: string, module: string) => `${device}/${module}`

/** The two names of an identity; without the second one it is a device. */
export function namesOf(id: string): { readonly device: string; readonly module?: string } {
  const [device = '', module] = id.split('/')
  return module === undefined ? { device } : { device, module }
}

export const isModule = (id: string) => id.includes('/')

/** `devices/pump`, `devices/pump/modules/du`: in the resource of a token and in telemetry topics. */
export const resourcePath = (id: string) => `devices/${id.replace('/', '/modules/')}`
