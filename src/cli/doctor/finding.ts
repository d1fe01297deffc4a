/** One line of `pi-adu doctor`. `skip`: the check was not possible here, which says nothing about the device. */
export interface Finding {
  readonly name: string
  readonly is: 'ok' | 'warn' | 'fail' | 'skip'
  /** What was found, as a clause. */
  readonly says: string
  /** What to do about it: one sentence; with `warn` and `fail`. */
  readonly remedy?: string
}

export const ok = (name: string, says: string): Finding => ({ name, is: 'ok', says })
export const skip = (name: string, says: string): Finding => ({ name, is: 'skip', says })
export const warn = (name: string, says: string, remedy: string): Finding => ({ name, is: 'warn', says, remedy })
export const fail = (name: string, says: string, remedy: string): Finding => ({ name, is: 'fail', says, remedy })
