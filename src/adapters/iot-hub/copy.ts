/** The SDK keeps merging into its own objects (PROTOCOL.md, "Arrays in the twin"), and adds methods to them. */
export const copy = (document: unknown): unknown =>
  JSON.parse(JSON.stringify(document, (_, value) => (typeof value === 'function' ? undefined : value)))
