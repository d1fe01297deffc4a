import type { Flight } from '../domain/flight.ts'
import type { Contract } from './contract.ts'

/** The record of a trial, see `domain/flight.ts`. It only helps to understand: what cannot be written or read is logged, and missing. */
export interface FlightRecorder {
  /** The trial boots that follow belong to the attempt with this key. */
  expect(key: string): Promise<void>
  /** In a trial: writes down what this boot has reached by now, each milestone once. */
  note(key: string, isConnected: boolean): Promise<void>
  /** What the trial boots of this attempt left; undefined when there is nothing, or it is damaged or about another attempt. */
  read(key: string): Promise<Flight | undefined>
}

export const flightRecorderContract: Contract<FlightRecorder> = { expect: [], note: [], read: [] }
