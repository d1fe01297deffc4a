import { UsageError } from '../../domain/errors.ts'

const UNITS: Readonly<Record<string, number>> = { s: 1, min: 60, m: 60, h: 3600, d: 86_400 }

/** `90s`, `15min`, `2h`, `1d`; a number alone is seconds. Errors: UsageError. Pure. */
export function seconds(text: string): number {
  const [, count = '', unit = 's'] = /^(\d{1,7})(s|min|m|h|d)?$/.exec(text) ?? []
  if (count === '') throw new UsageError(`"${text}" is not a time such as 90s, 15min, 2h or 1d`)
  return Number(count) * (UNITS[unit] ?? 1)
}
