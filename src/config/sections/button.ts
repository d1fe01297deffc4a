import * as v from 'valibot'
import { optional, section, setting } from '../setting.ts'
import { flag, number, whole } from '../values.ts'

const ORDERS = ['consent', 'identify', 'cancel', 'retry', 'rollback', 'none'] as const
const order = v.picklist(ORDERS, `must be one of ${ORDERS.join(', ')}`)

/** Holding the button for longer does nothing, so a button that is stuck does not either. */
export const HELD_TOO_LONG = 30

export const button = section({
  gpio: optional(whole(0, 53), 'no button', 'BCM number of the pin of a [button](../lights/README.md#a-button)'),
  activeLow: setting(flag, true, 'whether the button connects the pin with ground'),
  short: setting(order, 'consent', `what a short press does: ${ORDERS.map(each => `\`${each}\``).join(', ')}`),
  long: setting(order, 'rollback', 'what a long press does, when the button is released'),
  longSeconds: setting(number(1, 20), 5, 'how long a long press takes'),
  debounceMilliseconds: setting(whole(1, 500), 30, 'how long the contact must be at rest'),
})
