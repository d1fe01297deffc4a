import type { Gpio } from 'onoff'
import { messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import { globalNumber } from './line-number.ts'

export interface ButtonOptions {
  /** BCM pin number. */
  readonly gpio: number
  readonly activeLow: boolean
  readonly debounceMilliseconds: number
}

/** An input line that reports its edges, as `onoff` gives it. */
export type ButtonLine = Pick<Gpio, 'readSync' | 'watch' | 'unexport'>

/** The line of the button; undefined when the board lacks it, it is busy or `onoff` is missing, which is logged. */
export async function buttonLine(options: ButtonOptions, log: Log): Promise<ButtonLine | undefined> {
  const { gpio, activeLow, debounceMilliseconds } = options
  try {
    const { Gpio } = await import('onoff')
    return new Gpio(await globalNumber(gpio), 'in', 'both', { activeLow, debounceTimeout: debounceMilliseconds })
  } catch (error) {
    log.warn('button.unavailable', { gpio, why: messageOf(error) })
    return undefined
  }
}

/** Reports each level of `line` to what `begin` makes of its first one. Returns a function that ends it. A line that fails is logged and given up. */
export function watchButton(
  line: ButtonLine,
  begin: (isPressed: boolean) => { level(isPressed: boolean): void; end(): void },
  log: Log,
): () => void {
  let isOver = false
  let presses: ReturnType<typeof begin> | undefined
  const end = (): void => {
    if (isOver) return
    isOver = true
    presses?.end()
    try {
      line.unexport()
    } catch {}
  }
  const fail = (error: unknown): void => {
    if (isOver) return
    log.warn('button.unavailable', { why: messageOf(error) })
    end()
  }
  try {
    // First watch, then read: an edge in between is not lost.
    line.watch((error, value) => {
      if (error) fail(error)
      else if (!isOver) presses?.level(value === 1)
    })
    presses = begin(line.readSync() === 1)
  } catch (error) {
    fail(error)
  }
  return end
}
