/** Resolves at the first news since the watch began, or since its last news. Rejects with the reason of `signal`. */
export type NetworkWatch = (signal: AbortSignal) => Promise<void>

/** The network as far as this device sees it. News: an address that it did not have before, with which others may answer again. */
export interface Network {
  watch(): NetworkWatch
}
