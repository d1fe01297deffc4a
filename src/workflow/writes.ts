import type { Ports } from '../ports/ports.ts'
import type { Written } from '../view/event.ts'

/** The same ports; before each call that writes what a power cut would leave half done, the watchers are told so. */
export function tellingWrites(ports: Ports): Ports {
  const { boot, installer, steps, events } = ports
  const tell = (what: Written): void => events.tell({ event: 'writing', what })
  return {
    ...ports,
    boot: {
      read: signal => boot.read(signal),
      arm: (slot, signal) => {
        tell('bootState')
        return boot.arm(slot, signal)
      },
      start: signal => {
        tell('bootState')
        return boot.start(signal)
      },
      commit: signal => {
        tell('bootState')
        return boot.commit(signal)
      },
      fallBack: signal => {
        tell('bootState')
        return boot.fallBack(signal)
      },
    },
    installer: {
      install: (bundle, into, signal, lowest) => {
        tell('slot')
        return installer.install(bundle, into, signal, lowest)
      },
    },
    steps: {
      run: (order, progress, signal) => {
        if (order.verb === 'install' || order.verb === 'apply') tell('step')
        return steps.run(order, progress, signal)
      },
    },
  }
}
