import { HubError } from '../../domain/errors.ts'

/** `call` with a timeout in milliseconds. Errors: the signal's reason; HubError when it takes longer. */
export async function limited<T>(
  call: Promise<T>,
  milliseconds: number,
  complaint: string,
  signal: AbortSignal,
): Promise<T> {
  // If something else ends first, nobody handles a later failure of `call`.
  call.catch(() => {})
  signal.throwIfAborted()
  let timer: NodeJS.Timeout | undefined
  let onAbort = (): void => {}
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HubError(`${complaint} within ${milliseconds / 1000} s`)), milliseconds)
    onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort)
  })
  try {
    return await Promise.race([call, end])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}
