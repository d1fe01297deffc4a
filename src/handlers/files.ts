import type { InlineStep } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'

/** All files of a step are in one folder. `taken`: names that the step's results need. Errors: AgentError `NAME_UNSAFE`. */
export function distinctNames({ files }: InlineStep, taken?: RegExp): void {
  const seen = new Set<string>()
  for (const { fileName } of files) {
    if (seen.has(fileName)) throw new AgentError('NAME_UNSAFE', `two files of the step are called "${fileName}"`)
    if (taken?.test(fileName)) {
      throw new AgentError('NAME_UNSAFE', `a file of the step has the name of the script's result: "${fileName}"`)
    }
    seen.add(fileName)
  }
}
