import type { BootEnv, SlotName } from './boot-env.ts'

/** What the bootloader does at one power-on. */
export interface BootDecision {
  readonly boot: SlotName
  readonly reason: 'committed' | 'trial' | 'fell back' | 'trial failed before' | 'env recovered'
  /** Written before the slot starts; absent: the env stays as it is, and costs the card nothing. */
  readonly write?: BootEnv
  /** Written to the second copy: the env that is worth coming back to. */
  readonly backup?: BootEnv
}

/**
 * The bootloader's rule, the same as the boot script of the image. Pure.
 * `env` and `backup` are undefined when they cannot be read; `backup` was written when a slot last booted without a trial.
 */
export function decide(env: BootEnv | undefined, backup: BootEnv | undefined): BootDecision {
  if (!env) {
    // The second copy may name the slot that was on trial: it has to prove itself, or the other one gets its turn.
    const boot = backup?.primary ?? 'a'
    return { boot, reason: 'env recovered', write: { primary: boot, trial: 'pending', tries: 3 } }
  }
  if (env.trial === 'pending') {
    if (env.tries > 0) return { boot: env.primary, reason: 'trial', write: { ...env, tries: env.tries - 1 } }
    const boot = other(env.primary)
    return { boot, reason: 'fell back', write: { primary: boot, trial: 'failed', tries: 0 } }
  }
  if (env.trial === 'failed') return { boot: env.primary, reason: 'trial failed before' }
  const known = backup?.primary === env.primary && backup.trial === 'none'
  return { boot: env.primary, reason: 'committed', ...(!known && { backup: env }) }
}

/** When the slot cannot be started: a trial goes on by itself, through the counter; else the other slot is the last hope. */
export function afterUnstartable(
  slot: SlotName,
  env: BootEnv | undefined,
): 'power cycle' | { readonly boot: SlotName } {
  if (env?.trial === 'pending' && env.primary === slot) return 'power cycle'
  return { boot: other(slot) }
}

export function other(slot: SlotName): SlotName {
  return slot === 'a' ? 'b' : 'a'
}
