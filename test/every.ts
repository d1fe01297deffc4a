/**
 * A disturbance at each of many places takes minutes. EVERY=3 in the environment takes each third place, and begins at another one each
 * day, so that all are taken within three. Without it all are.
 */
export const EVERY = Number(process.env.EVERY ?? 1)
// Of anything else no place would be taken, and no test could fail.
if (!Number.isSafeInteger(EVERY) || EVERY < 1) throw new Error(`EVERY=${process.env.EVERY} is not a number from 1`)

const DAY = Math.floor(Date.now() / 86_400_000)
/** The first place, counted from 0. */
export const FIRST = DAY % EVERY

export const isTaken = (place: number): boolean => place % EVERY === FIRST

/** As `isTaken`, of a list that may be shorter than that: one is taken at least. */
export const isTakenOf = (all: readonly unknown[], place: number): boolean => {
  const every = Math.min(EVERY, all.length)
  return place % every === DAY % every
}
