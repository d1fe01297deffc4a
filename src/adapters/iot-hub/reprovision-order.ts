/** PROTOCOL.md, "Order to register again". Undefined for anything that is not one. */
export function reprovisionOrder(desired: unknown): string | undefined {
  const { piAdu } = (desired ?? {}) as { piAdu?: { reprovision?: unknown } | null }
  const order = piAdu?.reprovision
  return typeof order === 'string' && /^[\w.:-]{1,64}$/.test(order) ? order : undefined
}

/** Calls `work` after so many milliseconds. The timer alone keeps no process alive. */
export function unlessAborted(signal: AbortSignal, milliseconds: number, work: () => void): void {
  if (signal.aborted) return
  const timer = setTimeout(work, milliseconds).unref()
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
}
