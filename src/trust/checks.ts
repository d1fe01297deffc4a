import { messageOf } from '../domain/errors.ts'

/** In the order in which they are made. */
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
  | 'detached manifest'
  | 'compatibility'
  | 'handler'
  | 'urls'
  | 'downgrade'

export interface Check {
  readonly name: CheckName
  readonly outcome: 'pass' | 'fail' | 'warn' | 'skip'
  readonly detail: string
}

/** What was checked and how it went: written on the way, so that an explanation can never differ from the verdict. */
export class Checks {
  readonly #list: Check[] = []

  get list(): readonly Check[] {
    return this.#list
  }

  /** `check` throws when it fails; what it throws goes on to the caller. */
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
