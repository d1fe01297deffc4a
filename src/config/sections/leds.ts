import * as v from 'valibot'
import { optional, section, setting } from '../setting.ts'
import { flag, text, whole } from '../values.ts'
import { windows } from './gates.ts'

const ROLES = ['status', 'activity', 'fault'] as const
const pin = whole(0, 53)
/** A name of a folder in sysfs, or of a trigger there. */
const word = v.pipe(text, v.regex(/^(?!\.)[^/\s]{1,64}$/, 'must be a name without slashes and spaces'))

const light = v.pipe(
  section({
    gpio: optional(pin, 'none', 'BCM number of the pin of a light; or `led`'),
    led: optional(word, 'none', "its name in the kernel's LED class, `/sys/class/leds`: `ACT` is the board's own"),
    role: optional(
      v.picklist(ROLES, `must be one of ${ROLES.join(', ')}`),
      '`status`',
      '`status` shows every [pattern](../lights/README.md), `activity` and `fault` only theirs',
    ),
    activeLow: optional(flag, '`piAdu.leds.activeLow`', 'whether it lights at low level; with `gpio`'),
    brightness: optional(whole(1, 100), '100', 'per cent of its full brightness; with `led`'),
    whenStopped: optional(
      word,
      'the one that it had',
      'the kernel trigger that it gets when the agent ends, such as `heartbeat`; with `led`',
    ),
  }),
  v.check(({ gpio, led }) => (gpio === undefined) !== (led === undefined), 'must have either gpio or led'),
  v.check(({ led, activeLow }) => led === undefined || activeLow === undefined, 'activeLow has no effect with led'),
  v.check(
    ({ gpio, brightness, whenStopped }) => gpio === undefined || (brightness ?? whenStopped) === undefined,
    'brightness and whenStopped have no effect with gpio',
  ),
)

const entries = section({
  green: optional(pin, 'none', 'BCM number of the pin of a green LED: the same as a light with the role `status`'),
  red: optional(pin, 'none', 'BCM number of the pin of a red LED: the same as a light with the role `fault`'),
  activeLow: setting(flag, false, 'whether the LEDs light at low level'),
  lights: v.exactOptional(v.array(light, 'must be a list'), []),
  off: setting(
    windows,
    [],
    'times in which the lights are off, in `piAdu.gates.timeZone`, such as `["22:00-06:00"]`',
    'never',
  ),
})

type Section = v.InferOutput<typeof entries>

/** Where two names are one light. */
const doubles = (section: Section): readonly string[] => {
  const names = lightsOf(section).map(each => ('gpio' in each ? `GPIO ${each.gpio}` : each.led))
  return names.filter((name, i) => names.indexOf(name) !== i)
}

export const leds = v.pipe(
  entries,
  v.check(({ green, red }) => green === undefined || green !== red, 'green and red are the same pin'),
  v.check(
    each => doubles(each).length === 0,
    ({ input }) => `two lights are ${doubles(input as Section).join(' and ')}`,
  ),
)

/** Every light that is configured. */
export const lightsOf = ({ green, red, activeLow, lights }: Section) => [
  ...(green === undefined ? [] : [{ gpio: green, role: 'status' as const, activeLow }]),
  ...(red === undefined ? [] : [{ gpio: red, role: 'fault' as const, activeLow }]),
  ...lights.map(({ gpio, led, role = 'status', activeLow: low = activeLow, brightness = 100, whenStopped }) =>
    gpio === undefined ? { led: led ?? '', role, brightness, whenStopped } : { gpio, role, activeLow: low },
  ),
]

/** What nobody can tell from these lights; undefined when there are none, or one shows everything. */
export function ledsFlaw(section: Section): string | undefined {
  const lights = lightsOf(section)
  if (lights.length === 0 || lights.some(({ role }) => role === 'status')) return undefined
  return 'piAdu.leds: no light has the role status, so patterns without a light of their own cannot be told apart'
}
