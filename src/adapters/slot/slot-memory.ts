import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import type { Attempt } from '../../domain/attempt.ts'
import { messageOf } from '../../domain/errors.ts'
import type { SlotName } from '../../domain/slot.ts'
import { remember, type SlotMemory } from '../../domain/slot-memory.ts'
import type { BootControl } from '../../ports/boot-control.ts'
import type { Host } from '../../ports/host.ts'
import type { Journal, JournalContent } from '../../ports/journal.ts'
import type { Log } from '../../ports/log.ts'
import { writeAtomically } from '../files/atomic-file.ts'
import { sealed, unsealed } from '../files/sealed.ts'

const version = v.exactOptional(v.nullable(v.string()))
const schema = v.object({
  versions: v.object({ a: version, b: version }),
  lastUpdate: v.exactOptional(
    v.object({ workflowId: v.string(), fingerprint: v.string(), name: v.string(), time: v.string() }),
  ),
})

const NOTHING: SlotMemory = { versions: {} }

/** Empty when there is none, or when it is not just as it was written: what is not known is not shown, and no decision depends on it. */
export async function readSlotMemory(file: string): Promise<SlotMemory> {
  try {
    return v.parse(schema, unsealed(await readFile(file)))
  } catch {
    return NOTHING
  }
}

/** A journal that also notes what each slot holds. If the note cannot be written, that is only logged. */
export class RememberingJournal implements Journal {
  readonly #journal: Journal
  readonly #boot: Pick<BootControl, 'read'>
  readonly #file: string
  readonly #log: Log
  readonly #onChange: (memory: SlotMemory) => void
  #booted: SlotName | undefined
  /** The note of `begin`; later ones come after it. Never rejects. */
  #begun: Promise<void> = Promise.resolve()

  constructor(
    journal: Journal,
    boot: Pick<BootControl, 'read'>,
    file: string,
    log: Log,
    onChange: (memory: SlotMemory) => void = () => {},
  ) {
    this.#onChange = onChange
    this.#journal = journal
    this.#boot = boot
    this.#file = file
    this.#log = log
  }

  async read(): Promise<JournalContent> {
    return this.#journal.read()
  }

  async write(attempt: Attempt): Promise<void> {
    await this.#journal.write(attempt)
    await this.#begun
    await this.#note((memory, booted) => remember(memory, attempt, booted, new Date()))
  }

  /** Notes what the booted slot holds. The agent need not wait for it: later notes do. */
  begin(host: Pick<Host, 'version'>): Promise<void> {
    this.#begun = this.#noteBooted(host)
    return this.#begun
  }

  async #noteBooted(host: Pick<Host, 'version'>): Promise<void> {
    const own = await host.version()
    if (own === '') return
    await this.#note((memory, booted) => ({ ...memory, versions: { ...memory.versions, [booted]: own } }))
  }

  async #note(change: (memory: SlotMemory, booted: SlotName) => SlotMemory): Promise<void> {
    try {
      this.#booted ??= (await this.#boot.read(AbortSignal.timeout(10_000))).booted
      const before = await readSlotMemory(this.#file)
      const after = change(before, this.#booted)
      this.#onChange(after)
      if (JSON.stringify(after) === JSON.stringify(before)) return
      await writeAtomically(this.#file, sealed(after))
    } catch (error) {
      this.#log.warn('slots.not-noted', { file: this.#file, why: messageOf(error) })
    }
  }
}
