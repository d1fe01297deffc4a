import { connectionFields, connectionFlaw } from '../../domain/connection-string.ts'
import { HubError, messageOf } from '../../domain/errors.ts'
import { redact } from '../../domain/redact.ts'
import type { HubIdentity, Identity } from '../../ports/identity.ts'

/** The identity in a device's connection string. `source` returns its current text. */
export class ConnectionStringIdentity implements Identity {
  readonly #source: (signal: AbortSignal) => string | Promise<string>

  constructor(source: (signal: AbortSignal) => string | Promise<string>) {
    this.#source = source
  }

  async get(signal: AbortSignal): Promise<HubIdentity> {
    const text = await this.#read(signal)
    const flaw = connectionFlaw(text)
    if (flaw) throw new HubError(`no identity: the connection string ${flaw}`)
    const fields = new Map(connectionFields(text))
    return {
      hub: fields.get('HostName') ?? '',
      gateway: fields.get('GatewayHostName'),
      deviceId: fields.get('DeviceId') ?? '',
      moduleId: fields.get('ModuleId'),
      auth: {
        kind: 'symmetricKey',
        key: fields.get('SharedAccessKey') ?? '',
        keyName: fields.get('SharedAccessKeyName'),
      },
    }
  }

  /** Does nothing, because there is no other identity to give. */
  async tried(): Promise<void> {}

  /** The same. */
  async ordered(): Promise<undefined> {}

  async #read(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted()
    try {
      return await this.#source(signal)
    } catch (cause) {
      signal.throwIfAborted()
      throw new HubError(`no identity: ${redact(messageOf(cause))}`, { cause })
    }
  }
}
