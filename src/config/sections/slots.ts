import * as v from 'valibot'
import { optional, required, section, setting } from '../setting.ts'
import { flag, path, text } from '../values.ts'

const selection = v.pipe(text, v.regex(/^[^,\s]+,[^,\s]+$/, 'must be like "stable,a"'))

const slot = <const D extends string, const S extends string>(name: string, device: D, selected: S) =>
  v.exactOptional(
    section({
      device: required(path, `block device or file of slot ${name}; a and b must differ`),
      selection: setting(selection, selected, `what \`swupdate -e\` selects for slot ${name}; a and b must differ`),
    }),
    { device },
  )

export const slots = v.pipe(
  section({
    a: slot('a', '/dev/pi-adu/a', 'stable,a'),
    b: slot('b', '/dev/pi-adu/b', 'stable,b'),
    compareBeforeWrite: optional(
      flag,
      'true for block devices',
      'whether blocks that the slot already holds are not written again',
    ),
  }),
  v.check(
    ({ a, b }) => a.selection !== b.selection,
    'a and b have the same selection: one of them would write the slot that is running',
  ),
)

type Slots = v.InferOutput<typeof slots>

/** What `swupdate -e` selects for each slot. */
export const selectionsOf = ({ a, b }: Slots) => ({ a: a.selection, b: b.selection })

/** Block device or file of each slot. */
export const devicesOf = ({ a, b }: Slots) => ({ a: a.device, b: b.device })
