/** A parsed description; each setting knows its line. */

export interface Located {
  /** Line of the setting's name, or of the value within a list; the first line is 1. */
  readonly line: number
}
export interface Group extends Located {
  readonly is: 'group'
  readonly settings: ReadonlyMap<string, Setting>
}
export interface List extends Located {
  readonly is: 'list'
  readonly items: readonly Setting[]
}
/** Its items are scalars of one type. */
export interface ScalarArray extends Located {
  readonly is: 'array'
  readonly items: readonly Scalar[]
}
export interface Text extends Located {
  readonly is: 'text'
  readonly value: string
}
export interface Numeric extends Located {
  readonly is: 'integer' | 'long' | 'float'
  readonly value: number
}
export interface Flag extends Located {
  readonly is: 'boolean'
  readonly value: boolean
}
export type Scalar = Text | Numeric | Flag
export type Setting = Group | List | ScalarArray | Scalar

/** `swupdate`: SWUpdate refuses it too. `policy`: some version of SWUpdate may accept it, but we do not. */
export type RefusalKind = 'swupdate' | 'policy'

/** Why a description is refused, in one line with the place. */
export class DescriptionError extends Error {
  override readonly name = 'DescriptionError'
  readonly line: number
  readonly kind: RefusalKind

  /** `what` follows the word sw-description: "has …", "ends …". */
  constructor(kind: RefusalKind, line: number, what: string) {
    super(`sw-description ${what} (line ${line})`)
    this.kind = kind
    this.line = line
  }
}
