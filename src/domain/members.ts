/** JSON from elsewhere may be anything. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** An own member of an object; undefined of anything else. */
export const member = (value: unknown, key: string): unknown =>
  isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined

export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
