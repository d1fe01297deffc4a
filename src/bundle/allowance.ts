/** What an owner can allow by name, in addition to the slot's image (`piAdu.bundle.allow`). */
export const ALLOWANCES = [
  ...(['scripts', 'lua', 'bootenv', 'files', 'partitions'] as const),
  ...(['devices', 'handlers', 'attributes', 'staging'] as const),
] as const
export type Allowance = (typeof ALLOWANCES)[number]
