import { contract2021 } from './contract-2021/contract.ts'
import { deviceUpdateContract } from './device-update/contract.ts'
import type { TwinContract } from './twin-contract.ts'

/** By the setting `piAdu.contract`. */
export const CONTRACTS: Readonly<Record<'current' | '2021', TwinContract>> = {
  current: deviceUpdateContract,
  '2021': contract2021,
}
