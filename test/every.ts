/**
 * A disturbance at each of many places takes minutes. EVERY=3 in the environment takes each third place, and begins at another one each
 * day, so that all are taken within three. Without it all are.
 */
export const EVERY = Number(process.env.EVERY ?? 1)
/** The first place, counted from 0. */
export const FIRST = Math.floor(Date.now() / 86_400_000) % EVERY

export const isTaken = (place: number): boolean => place % EVERY === FIRST
