/** Minimum matching share that makes comparing worthwhile: a card reads about three times as fast as it writes. */
const WORTH = 1 / 3
/** The most pieces in a row that are written without comparing. */
const MOST_UNSEEN = 15

/**
 * Decides which pieces of an image are compared with the slot's content before they are written. Matching pieces come in
 * runs: after a piece that was not worth comparing, more and more pieces are written without comparing (1, 3, 7, 15), until
 * one is worth it again.
 */
export class Comparing {
  #disappointed = 0
  #unseen = 0

  /** Whether the next piece is to be compared. */
  next(): boolean {
    if (this.#unseen === 0) return true
    this.#unseen--
    return false
  }

  /** The outcome for a compared piece: `same` of its `all` bytes were already in the slot. */
  seen(same: number, all: number): void {
    this.#disappointed = same < WORTH * all ? this.#disappointed + 1 : 0
    this.#unseen = Math.min(2 ** this.#disappointed - 1, MOST_UNSEEN)
  }
}
