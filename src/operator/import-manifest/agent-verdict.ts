import { AgentError } from '../../domain/errors.ts'
import type { Capabilities } from '../../handlers/capabilities.ts'
import { handlerFileOf } from '../../handlers/own/own.ts'
import { handlerOf } from '../../handlers/registry.ts'
import { Checks } from '../../trust/checks.ts'
import { isMini, parseManifest } from '../../trust/manifest.ts'
import type { Finding } from './check.ts'
import type { ImportManifest, InlineStep } from './schema.ts'

/** What a device would refuse of this step, read with the agent's own code. `path`: of the step. */
export function agentFindings(manifest: ImportManifest, step: InlineStep, path: string): readonly Finding[] {
  const ownHandlers = [handlerFileOf(step.handler)]
  const device: Capabilities = { images: true, scripts: true, packages: 'yes', ownHandlers }
  try {
    const read = parseManifest(JSON.stringify(updateManifestOf(manifest, step)), new Checks())
    const [first] = isMini(read) ? [] : read.steps
    if (first?.type === 'inline') handlerOf(first.handler, device).read(first, device)
    return []
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    return [{ level: 'error', path, message: `is one that devices refuse: ${error.message}` }]
  }
}

/** What the service makes of the step (PROTOCOL.md, "Manifest with steps"); the file ids are names here. */
function updateManifestOf({ updateId, compatibility, files = [], manifestVersion }: ImportManifest, step: InlineStep) {
  const { handler, files: names, handlerProperties } = step
  return {
    manifestVersion: manifestVersion.replace(/\.0$/, ''),
    updateId,
    compatibility,
    instructions: { steps: [{ handler, files: names, handlerProperties }] },
    files: Object.fromEntries(
      files
        .filter(({ filename }) => names.includes(filename))
        .map(({ filename, sizeInBytes, hashes }) => [filename, { fileName: filename, sizeInBytes, hashes }]),
    ),
  }
}
