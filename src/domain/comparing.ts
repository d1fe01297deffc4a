/** Pieces of which less is there already are dearer to read than to write: a card reads about three times as fast. */
const WORTH = 1 / 3
/** At most as many pieces in a row are written unseen. */
const MOST_UNSEEN = 15

/**
 * Decides which pieces of an image are compared with what the slot holds before they are written. Images are alike in runs:
 * where a piece was not worth a look, ever more of those that follow are written unseen (1, 3, 7, 15), until one is again.
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

  /** Of a piece that was compared: `same` of its `all` bytes were in the slot. */
  seen(same: number, all: number): void {
    this.#disappointed = same < WORTH * all ? this.#disappointed + 1 : 0
    this.#unseen = Math.min(2 ** this.#disappointed - 1, MOST_UNSEEN)
  }
}
