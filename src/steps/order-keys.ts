import { createHash } from 'node:crypto'
import type { StepOrder } from '../ports/steps.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
export const deploymentKey = ({ signed }: StepOrder): string => sha256(signed.manifest).slice(0, 32)
export const stepName = ({ path, component }: StepOrder): string =>
  `${path.join('.')}${component ? `-${sha256(component.id).slice(0, 16)}` : ''}`
export const stepKey = (order: StepOrder): string => `${deploymentKey(order)}/${stepName(order)}`
export const hashOf = (order: StepOrder): string => sha256(JSON.stringify([stepKey(order), order.verb]))
