import type { Deployment, FileEntity, ManifestStep, PlannedStep } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Hosts } from '../domain/hosts.ts'
import type { Checks } from '../trust/checks.ts'
import type { Judged } from '../trust/judge.ts'
import { hasUrl, urlOf } from '../trust/urls.ts'
import { type Capabilities, IMAGES_ONLY } from './capabilities.ts'
import { type Entry, flattened, nameOf, REFERENCE_HANDLER } from './components/flattened.ts'
import type { StepHandler } from './handler.ts'
import { handlerOf } from './registry.ts'

/**
 * Finds the handler of every step of a verified manifest, lets it read its step, and checks the URL of every required file,
 * all before anything of the update is downloaded. The first step that this device cannot carry out refuses the deployment.
 * Pure. Where each phase is ordered by itself, the URLs vanish after the download, so a missing one is left out. `hosts`: allowed hosts for files; undefined: not compared. `device`: what it lets steps do.
 */
export function readSteps(
  judged: Judged,
  hosts: Hosts | undefined,
  checks: Checks,
  device: Capabilities = IMAGES_ONLY,
): Deployment {
  if (judged.kind !== 'deploy') return judged
  const { manifest, signed, fileUrls, ...base } = judged
  try {
    const [first, ...more] = checks.run('handler', () => readAll(manifest.steps, device), handlersOf)
    const isListed = (file: FileEntity): boolean => base.allowed === undefined || hasUrl(file, fileUrls)
    const place = ({ needs, ...step }: ReadStep): PlannedStep => {
      return { ...step, urls: urlsOf(needs.filter(isListed), fileUrls, hosts) }
    }
    const plans = checks.run('urls', () => [place(first), ...more.map(place)] as const)
    return { ...base, manifest, signed, plans }
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    return refusedFor(judged, error)
  }
}

/** The refusal of a deployment whose signature is good. */
export function refusedFor(judged: Extract<Judged, { kind: 'deploy' }>, error: AgentError): Deployment {
  const { manifest, signed: _, fileUrls: __, ...base } = judged
  return { ...base, kind: 'refuse', error, updateId: manifest.updateId }
}

type ReadStep = Omit<PlannedStep, 'urls'> & { readonly needs: readonly FileEntity[] }
type ReadSteps = readonly [ReadStep, ...ReadStep[]]

/** Handlers come first: a device that lacks one has no use for the rest. */
function readAll(steps: readonly ManifestStep[], device: Capabilities): ReadSteps {
  const entries = flattened(steps, device)
  const where = (entry: Entry) => (entries.length > 1 || entry.path.length > 1 ? entry : undefined)
  const found = entries.map(entry => at(where(entry), () => handlerFor(entry, device)))
  const read = entries.map((entry, index) => at(where(entry), () => readOne(entry, found[index], device)))
  const [first, ...more] = read
  if (!first) throw new AgentError('STEPS_UNSUPPORTED', 'the update has no steps')
  return [first, ...more]
}

const handlerFor = (entry: Entry, device: Capabilities): StepHandler | undefined =>
  'step' in entry ? handlerOf(entry.step.handler, device) : undefined

function readOne(entry: Entry, handler: StepHandler | undefined, device: Capabilities): ReadStep {
  const { path } = entry
  if (!('step' in entry) || !handler) return { path, handler: REFERENCE_HANDLER, plan: nothing(entry), needs: [] }
  const { step, component } = entry
  const plan = handler.read(step, device)
  if (component && plan.kind === 'image') {
    throw new AgentError('STEPS_UNSUPPORTED', 'an image is for the slots of the device itself, not for a component')
  }
  const needs = handler.needs(plan)
  return { path, handler: step.handler, plan, needs, ...(component ? { component } : {}) }
}

const nothing = (entry: Entry) => ({ kind: 'nothing', why: 'nobody' in entry ? entry.nobody : '' }) as const

/** Adds to an error which of several steps it concerns. */
function at<T>(entry: Entry | undefined, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (!(cause instanceof AgentError) || !entry) throw cause
    throw new AgentError(cause.code, `${nameOf(entry)}: ${cause.message}`, { cause })
  }
}

/** Each step as it will be carried out; with its place and component where there are several. */
function handlersOf(steps: ReadSteps): string {
  if (steps.length === 1 && steps[0].path.length === 1 && steps[0].plan.kind !== 'nothing') return steps[0].handler
  return steps
    .map(({ handler, plan, ...entry }) => `${nameOf(entry)}: ${plan.kind === 'nothing' ? plan.why : handler}`)
    .join('; ')
}

const urlsOf = (files: readonly FileEntity[], fileUrls: unknown, hosts: Hosts | undefined): PlannedStep['urls'] =>
  Object.fromEntries(files.map(file => [file.fileId, urlOf(file, fileUrls, hosts)]))
