import { networkInterfaces } from 'node:os'
import type { Clock } from '../../ports/clock.ts'
import type { Network } from '../../ports/network.ts'

/** In milliseconds, between two looks. One takes a fraction of a millisecond, and there is none while the device is connected. */
const LOOK_EVERY = 2000

/** The addresses that others gave this machine, each with its interface: not its own, and not those that it gave itself. */
export function addresses(): readonly string[] {
  return Object.entries(interfaces()).flatMap(([name, given = []]) =>
    given
      .filter(each => !each.internal && !/^(169\.254\.|fe80:)/.test(each.address))
      .map(each => `${name} ${each.address}`),
  )
}

/** None where the system does not say. */
function interfaces(): ReturnType<typeof networkInterfaces> {
  try {
    return networkInterfaces()
  } catch {
    return {}
  }
}

/** Looks from time to time, since Node tells of no change. `look`: as `addresses`. */
export function addressNews(clock: Pick<Clock, 'sleep'>, look = addresses): Network {
  return {
    watch() {
      let known = new Set(look())
      return async signal => {
        for (;;) {
          const before = known
          known = new Set(look())
          if ([...known].some(each => !before.has(each))) return
          await clock.sleep(LOOK_EVERY, signal)
        }
      }
    },
  }
}
