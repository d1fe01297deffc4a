/**
 * The same at each of many places takes minutes. EVERY=3 in the environment takes each third place, and begins at another one each day, so
 * that all are taken within three. Without it all are.
 */
export const EVERY = Number(process.env.EVERY ?? 1)
// Of anything else no place would be taken, and no test could fail.
if (!Number.isSafeInteger(EVERY) || EVERY < 1) throw new Error(`EVERY=${process.env.EVERY} is not a number from 1`)

const DAY = Math.floor(Date.now() / 86_400_000)
/** The first place, counted from 0. */
export const FIRST = DAY % EVERY

export const isTaken = (place: number): boolean => place % EVERY === FIRST

/** Those of a list that are taken; one at least. */
export const taken = <T>(all: readonly T[]): readonly T[] => {
  const every = Math.min(EVERY, all.length)
  return all.filter((_, place) => place % every === DAY % every)
}
