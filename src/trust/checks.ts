import { messageOf } from '../domain/errors.ts'

/** The checks, in the order in which they are made. */
export type CheckName =
  | 'twin'
  | 'action'
  | 'workflow id'
  | 'root key package'
  | 'structure'
  | 'root key'
  | 'signing key'
  | 'signature'
  | 'hash'
  | 'version'
  | 'schema'
  | 'names'
  | 'steps'
  | 'provider'
  | 'detached manifest'
  | 'child manifests'
  | 'compatibility'
  | 'handler'
  | 'urls'
  | 'downgrade'

export interface Check {
  readonly name: CheckName
  readonly outcome: 'pass' | 'fail' | 'warn' | 'skip'
  readonly detail: string
}

/** The checks and their results, recorded on the way, so that an explanation cannot differ from the verdict. */
export class Checks {
  readonly #list: Check[] = []

  get list(): readonly Check[] {
    return this.#list
  }

  /** `check` throws when it fails; the error is recorded and rethrown. */
  run<T>(name: CheckName, check: () => T, detail: string | ((result: T) => string) = ''): T {
    try {
      const result = check()
      this.note(name, 'pass', typeof detail === 'string' ? detail : detail(result))
      return result
    } catch (error) {
      this.note(name, 'fail', messageOf(error))
      throw error
    }
  }

  note(name: CheckName, outcome: Check['outcome'], detail: string): void {
    this.#list.push({ name, outcome, detail })
  }

  passed(name: CheckName): boolean {
    return this.#list.some(check => check.name === name && check.outcome === 'pass')
  }
}
