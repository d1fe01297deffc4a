import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { PROVISIONING_HOSTS } from '../hub/certs.ts'
import type { Faults } from '../hub/faults.ts'
import { newKey } from '../hub/policies.ts'
import { Issuer } from './authority.ts'
import { derivedKey, groupOf, type Individual, individualOf, keysOf } from './enrollments.ts'
import type { WrongCertificates } from './faults.ts'
import type { Doors } from './mqtt.ts'
import { type AssignableHub, Registrations } from './registrations.ts'
import { answerDevice } from './rest.ts'
import { answerService, type ServiceDoor } from './service.ts'
import { ProvisioningStore } from './store.ts'

export const ID_SCOPE = '0ne00BE4C40'
/** Where devices look, as in the cloud, and the instance's own name, which is also the service endpoint. */
const [GLOBAL_HOST, SERVICE_HOST] = PROVISIONING_HOSTS
/** Names the policy of this bench that issues certificates. */
export const CREDENTIAL_POLICY = 'bench'

const DAY_MS = 86_400_000

export interface ProvisioningOptions {
  readonly dir: string
  readonly hub: AssignableHub
  readonly faults: Faults
  readonly log: (line: string) => void
}

export type Provisioning = Awaited<ReturnType<typeof openProvisioning>>

/** A local stand-in for the Device Provisioning Service, beside the hub whose ports it shares. */
export async function openProvisioning({ dir, hub, faults, log }: ProvisioningOptions) {
  const store = await ProvisioningStore.open(dir, newKey())
  const hubs = [hub]
  const life = { seconds: 30 * 86_400 }
  let opened: Promise<{ intermediate: Issuer; root: Issuer }> | undefined
  // Most benches never issue a certificate, and keys take a moment.
  const issuers = () => {
    opened ??= openIssuers(dir)
    return opened
  }
  const until = () => new Date(Date.now() + life.seconds * 1000)

  const registrations = new Registrations(store, hubs, async request => {
    const { intermediate } = await issuers()
    return [await intermediate.sign(request, { until: until() }), ...intermediate.path]
  })
  const wrongCertificates: WrongCertificates = async (flaw, registrationId) => {
    const { intermediate } = await issuers()
    const now = Date.now()
    const dates = {
      expired: { from: new Date(now - 2 * DAY_MS), until: new Date(now - DAY_MS) },
      notYetValid: { from: new Date(now + DAY_MS), until: new Date(now + 2 * DAY_MS) },
      otherName: {},
      otherKey: {},
    }[flaw]
    const { cert } = await intermediate.issue(flaw === 'otherName' ? `${registrationId}-other` : registrationId, dates)
    return cert.slice(0, cert.indexOf('-----END CERTIFICATE-----') + 26)
  }
  const doors: Doors = {
    idScope: ID_SCOPE,
    directory: {
      individual: id => store.individuals.get(id),
      groups: () => store.groups.values(),
      named: name => store.certificates.get(name),
    },
    registrations,
    faults,
    wrongCertificates,
    log,
  }

  // As the service: so many calls at once, then so many a second.
  const limit: { perSecond?: number; left: number; at: number } = { left: 0, at: 0 }
  const service: ServiceDoor = {
    hosts: [SERVICE_HOST, 'localhost'],
    store,
    registrations,
    log,
    isThrottled() {
      if (limit.perSecond === undefined) return false
      const now = Date.now()
      limit.left = Math.min(limit.perSecond, limit.left + ((now - limit.at) / 1000) * limit.perSecond)
      limit.at = now
      limit.left -= 1
      return limit.left < 0
    },
  }

  return {
    idScope: ID_SCOPE,
    globalHost: GLOBAL_HOST,
    serviceHost: SERVICE_HOST,
    credentialPolicy: CREDENTIAL_POLICY,
    /** For programs of the service, through the preload. */
    serviceConnectionString: `HostName=${SERVICE_HOST};SharedAccessKeyName=provisioningserviceowner;SharedAccessKey=${store.serviceKey}`,
    doors,
    store,

    /** How the service answers; may be changed at any time. */
    settings: registrations.settings,
    /** Of issued certificates. */
    setCertificateLife: (seconds: number) => void Object.assign(life, { seconds }),
    /** The service's REST refuses further calls with 429; undefined: no limit. */
    setServiceLimit: (perSecond: number | undefined) => void Object.assign(limit, { perSecond, left: perSecond ?? 0 }),
    /** Since this bench started; polls are not counted. */
    registrationsOf: (registrationId: string) => registrations.counts.get(registrationId) ?? 0,

    /** As the service's REST: see `enrollments.ts`. Returns the enrolment with its keys. Throws HubError (400). */
    enroll(enrollment: object): Individual {
      const individual = individualOf(enrollment, undefined)
      store.individuals.set(individual.registrationId, individual)
      store.changed()
      return individual
    },
    enrollGroup(enrollment: object) {
      const group = groupOf(enrollment, undefined)
      store.groups.set(group.enrollmentGroupId, group)
      store.changed()
      return group
    },
    /** The key that a device of a symmetric group is given. */
    deviceKey(group: string, registrationId: string): string {
      const keys = keysOf(store.groups.get(group) ?? fail(`no group ${group}`)) ?? fail(`${group} has no key`)
      return derivedKey(keys.primary, registrationId.toLowerCase())
    },
    setEnrollmentStatus(id: string, provisioningStatus: 'enabled' | 'disabled'): void {
      const individual = store.individuals.get(id)
      const group = store.groups.get(id)
      if (individual) store.individuals.set(id, { ...individual, provisioningStatus })
      else if (group) store.groups.set(id, { ...group, provisioningStatus })
      else fail(`no enrollment ${id}`)
      store.changed()
    },
    /** For `caReferences`. */
    addCertificate(name: string, pem: string): void {
      store.certificates.set(name, pem)
      store.changed()
    },
    /** One more hub that devices can be assigned to. */
    linkHub: (other: AssignableHub) => void hubs.push(other),

    /** True when the request was for the provisioning service. */
    answer: (request: IncomingMessage, response: ServerResponse, path: string) =>
      answerDevice(request, response, path, doors) || answerService(request, response, path, service),

    close: () => store.flush(),
  }
}

async function openIssuers(dir: string) {
  const curve = 'P-384'
  const until = new Date(Date.now() + 3650 * DAY_MS)
  const from = new Date(Date.now() - DAY_MS)
  const root = await Issuer.open(join(dir, 'issuer-root'), 'Bench credential root', { curve, from, until })
  const options = { curve, from, until, parent: root } as const
  return { root, intermediate: await Issuer.open(join(dir, 'issuer'), 'Bench credential policy', options) }
}

function fail(message: string): never {
  throw new Error(message)
}
