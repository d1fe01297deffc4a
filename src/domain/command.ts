/** What somebody at the device may order of the loop. */
export type CommandName = 'cancel' | 'retry' | 'commit' | 'rollback'

export interface CommandRequest {
  readonly kind: 'command'
  readonly command: CommandName
}
