import { open } from 'node:fs/promises'
import { ConfigError, messageOf } from '../../domain/errors.ts'
import { unreadable } from '../../domain/owners-file.ts'
import { decodeText } from '../../domain/text.ts'

/** A file of the device's owner, and the setting that names it, for messages. */
export interface NamedFile {
  readonly setting: string
  readonly path: string
}

/** Keys and certificate chains have a few kB. */
const MAX_BYTES = 1 << 20

/**
 * The text of the file. `secret`: only its owner and group may be able to read it. Errors: ConfigError for what a person must fix,
 * Error for what may pass. Both name the setting and the file, and never quote its content.
 */
export async function ownersText({ setting, path }: NamedFile, secret: boolean): Promise<string> {
  const handle = await open(path).catch(cause => {
    throw unreadable(`${setting}:`, cause)
  })
  try {
    const { mode, size } = await handle.stat()
    if (secret && (mode & 0o007) !== 0) {
      throw new ConfigError(`${setting}: ${path} holds a secret, but everybody can read it: chmod 600 it`)
    }
    if (size > MAX_BYTES) throw new ConfigError(`${setting}: ${path} is larger than 1 MiB`)
    const bytes = await handle.readFile().catch(cause => {
      throw unreadable(`${setting}:`, cause)
    })
    if (bytes.length === 0) throw new ConfigError(`${setting}: ${path} is empty`)
    try {
      return decodeText(bytes)
    } catch (cause) {
      throw new ConfigError(`${setting}: ${path} ${messageOf(cause)}`, { cause })
    }
  } finally {
    await handle.close()
  }
}
