import type { Allowance } from '../../bundle/allowance.ts'
import { ArchiveGuard, type Contents } from '../../bundle/archive-guard.ts'
import { choicesOf } from '../../bundle/choices.ts'
import { INLET, inspect } from '../../bundle/policy.ts'
import { DescriptionError } from '../../bundle/setting.ts'
import { type Choice, readDescription, softwareFor } from '../../bundle/sw-description.ts'
import { AgentError } from '../../domain/errors.ts'
import type { SlotName } from '../../domain/slot.ts'

/** The configuration of the devices that a bundle is for. */
export interface Fleet {
  /** What `swupdate -e` selects for slot a and slot b. */
  readonly selections: readonly string[]
  /** Their `piAdu.bundle.allow`. */
  readonly allow: ReadonlySet<Allowance>
}

/** Whether a device with this selection makes this choice. */
export const isFor = ({ set, mode }: Choice, selection: string): boolean =>
  set === undefined || `${set},${mode}` === selection

/** The agent's own guard over the bytes of a bundle as they are read; one per selection of the fleet. */
export class AgentVerdict {
  readonly #fleet: Fleet
  readonly #guards: Map<string, ArchiveGuard>
  readonly #refusals: string[] = []

  constructor(fleet: Fleet) {
    this.#fleet = fleet
    const guards = fleet.selections.map((selection, index) => {
      const slot = index === 1 ? 'b' : 'a'
      const check = (description: Buffer) => this.#check(description, selection, slot)
      return [selection, new ArchiveGuard({ check, room: undefined, device: INLET[slot] })] as const
    })
    this.#guards = new Map(guards)
  }

  /** Takes the next bytes. */
  push(bytes: Buffer): void {
    this.#each(guard => guard.push(bytes))
  }

  /** Why the agent would refuse the bundle, after its last byte. */
  end(): readonly string[] {
    this.#each(guard => guard.end())
    return this.#refusals
  }

  #each(act: (guard: ArchiveGuard) => void): void {
    for (const [selection, guard] of this.#guards) {
      try {
        act(guard)
      } catch (error) {
        this.#guards.delete(selection)
        // A missing selection and a bad description are reported once, for the whole bundle.
        if (error === NOTHING || error instanceof DescriptionError) continue
        if (!(error instanceof AgentError)) throw error
        this.#refusals.push(`pi-adu-agent refuses ${selection}: ${error.message}`)
      }
    }
  }

  /** Matches every board; slots have the names that the bundle uses. */
  #check(bytes: Buffer, selection: string, slot: SlotName): Contents {
    const description = readDescription(bytes)
    const found = choicesOf(description).filter(choice => isFor(choice, selection))
    const contents = found.map(choice => {
      const { images } = softwareFor(description, choice)
      const device = images.length === 1 ? (images[0]?.device ?? '') : INLET[slot]
      return inspect(bytes, { slot, selection, device, board: choice.board, allow: this.#fleet.allow })
    })
    const [first] = contents
    if (!first) throw NOTHING
    return { ...first, needed: new Set(contents.flatMap(({ needed }) => [...needed])) }
  }
}

const NOTHING = new Error('nothing for the selection')
