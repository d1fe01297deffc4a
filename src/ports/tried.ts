/** The fingerprints of the local deployments that a stick has brought; they outlive the process. */
export interface Tried {
  /** Oldest first. What cannot be read as a whole counts as none, which is logged. Errors: AgentError `JOURNAL`. */
  read(): Promise<readonly string[]>
  /** Atomic; on the disk when it resolves. Errors: AgentError `JOURNAL`. */
  write(fingerprints: readonly string[]): Promise<void>
}
