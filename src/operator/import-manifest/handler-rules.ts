import type { Beside, Finding } from './check.ts'
import type { InlineStep } from './schema.ts'

/** What handlers need that the service does not check (PROTOCOL.md, "Handler properties"). `version`: the update's. */
export function handlerFindings(step: InlineStep, path: string, version: string, beside: Beside): Finding[] {
  const own = !/^microsoft\/(swupdate:[12]|script:1|apt:1)$/.test(step.handler)
  if (step.handlerProperties === undefined) {
    return [error(`${path}.handlerProperties`, 'is missing: devices refuse a step without it')]
  }
  if (own) {
    const why = 'is not a handler of the agent: each device needs a handler of its owner with this name'
    return [warning(`${path}.handler`, `"${step.handler}" ${why}`)]
  }
  return [...ofHandler(step, path), ...imageCriteria(step, path, version, beside), ...aptCriteria(step, path, beside)]
}

const error = (path: string, message: string): Finding => ({ level: 'error', path, message })
const warning = (path: string, message: string): Finding => ({ level: 'warning', path, message })

function ofHandler({ handler, files, handlerProperties = {} }: InlineStep, path: string): Finding[] {
  const at = `${path}.handlerProperties`
  const property = (name: string): unknown => handlerProperties[name]
  const findings: Finding[] = []
  if (typeof property('installedCriteria') !== 'string' || property('installedCriteria') === '') {
    findings.push(error(`${at}.installedCriteria`, 'is missing: no device can tell that the update is installed'))
  }
  if (/^microsoft\/(swupdate:1|apt:1)$/.test(handler) && files.length !== 1) {
    findings.push(error(`${path}.files`, `${handler} takes exactly one file`))
  }
  if (handler === 'microsoft/swupdate:2') {
    findings.push(...namesFile('swuFileName', true), ...namesFile('scriptFileName', false))
    if (property('scriptFileName') !== undefined) {
      const why = 'the script installs the image in place of the agent, on devices whose owner allows scripts'
      findings.push(warning(`${at}.scriptFileName`, `${why}: there is no trial and no way back but its own`))
    }
  }
  if (handler === 'microsoft/script:1') findings.push(...namesFile('scriptFileName', true))
  if (property('scriptFileName') !== undefined) findings.push(...ofScript())
  return findings

  function namesFile(name: string, needed: boolean): Finding[] {
    const value = property(name)
    if (value === undefined) return needed ? [error(`${at}.${name}`, 'is missing')] : []
    return files.includes(String(value)) ? [] : [error(`${at}.${name}`, `"${value}" is not one of the step's files`)]
  }

  function ofScript(): Finding[] {
    const [words, version] = [property('arguments'), property('apiVersion')]
    return [
      ...(words === undefined || typeof words === 'string' ? [] : [error(`${at}.arguments`, 'must be a text')]),
      ...(version === undefined || version === '1.0' || version === '1.1'
        ? []
        : [error(`${at}.apiVersion`, 'must be "1.0" or "1.1"')]),
    ]
  }
}

/** If the text is not what the version file will say, every device installs, boots the new system, and falls back. */
function imageCriteria(
  { handler, files, handlerProperties = {} }: InlineStep,
  path: string,
  version: string,
  beside: Beside,
): Finding[] {
  const { installedCriteria: found, swuFileName, scriptFileName } = handlerProperties
  if (!handler.startsWith('microsoft/swupdate:') || typeof found !== 'string' || found === '') return []
  // A script has a rule of its own.
  if (scriptFileName !== undefined) return []
  const bundle = typeof swuFileName === 'string' ? swuFileName : files[0]
  const inBundle = bundle === undefined ? undefined : beside.versions?.get(bundle)
  const wanted = beside.installedCriteria ?? inBundle
  const at = `${path}.handlerProperties.installedCriteria`
  const hint = found === '1.0' ? '; the Azure CLI writes "1.0" by default' : ''
  if (wanted === undefined) {
    const why = `is "${found}", and the update's version is "${version}": it must be the first line of the new system's version file`
    return found === version ? [] : [warning(at, `${why}${hint}`)]
  }
  if (found === wanted) return []
  const source = wanted === inBundle ? `the version of ${bundle}` : 'the first line of the version file'
  const why = `is "${found}", and ${source} is "${wanted}": each device would install it, find another version, and fall back`
  return [error(at, `${why}${hint}`)]
}

/** With another text it works, but the device keeps the text: two manifests with one text are one to it. */
function aptCriteria({ handler, files, handlerProperties = {} }: InlineStep, path: string, beside: Beside): Finding[] {
  const { installedCriteria: found } = handlerProperties
  const usual = beside.versions?.get(files[0] ?? '')
  if (handler !== 'microsoft/apt:1' || usual === undefined || found === usual) return []
  if (typeof found !== 'string' || found === '') return []
  const why = `is "${found}", and ${files[0]} is "${usual}": devices skip a step whose text they know`
  return [warning(`${path}.handlerProperties.installedCriteria`, why)]
}
