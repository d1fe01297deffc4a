/** EEPROM builds of Pi 4 and Pi 5 that may mistake a reset for a request to start partition 32 (rpi-eeprom, pull request 758). */
const FAULTY = { from: Date.UTC(2025, 5, 1), before: Date.UTC(2025, 9, 8) }

/** What is wrong with the EEPROM bootloader built at `built` (milliseconds); undefined when no flaw is known. Pure. */
export function eepromFlaw(built: number): string | undefined {
  if (built < FAULTY.from || built >= FAULTY.before) return undefined
  return `the bootloader in the EEPROM, built on ${dayOf(built)}, may start the wrong partition after a reset`
}

/** `2025-07-03`. Pure. */
export const dayOf = (time: number): string => new Date(time).toISOString().slice(0, 10)
