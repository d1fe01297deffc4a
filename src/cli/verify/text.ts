import { onOneLine } from '../../domain/terminal.ts'
import type { CheckName } from '../../trust/checks.ts'
import type { Explanation, PackageExplanation } from './explain.ts'

const MARK = { pass: ' ok ', fail: 'FAIL', warn: 'warn', skip: ' -- ' } as const

/** Every check of a deployment, in order. Checks after a failure are not reached. */
const ALL: readonly CheckName[] = [
  ...(['action', 'workflow id', 'root key package', 'structure', 'root key', 'signing key', 'signature'] as const),
  ...(['hash', 'version', 'schema', 'names', 'steps', 'provider', 'compatibility', 'handler', 'urls'] as const),
]

/** For a person. Pure. */
export function describeExplanation(explanation: Explanation): string {
  const { verdict, reason, checks, updateId, manifestVersion, extendedResultCode, authentic } = explanation
  const reached = new Set(checks.map(({ name }) => name))
  const rest = checks.some(({ name }) => name === 'workflow id') && verdict === 'refuse' ? ALL : []
  const lines = [
    ...checks,
    ...rest.filter(name => !reached.has(name)).map(name => ({ name, outcome: 'skip', detail: 'not reached' }) as const),
  ].map(({ name, outcome, detail }) => `  ${MARK[outcome]}  ${name.padEnd(18)} ${detail}`.trimEnd())
  const what = updateId ? `${updateId.provider} ${updateId.name} ${updateId.version}` : 'unknown update'
  return [
    `${what}, manifest version ${manifestVersion || 'unknown'}: ${authentic ? 'authentic' : 'not authentic'}`,
    ...lines,
    `${verdict.toUpperCase()}: ${reason}${verdict === 'accept' ? '' : ` (${extendedResultCode})`}`,
    '',
  ]
    .map(onOneLine)
    .join('\n')
}

/** For a person. Pure. */
export function describePackage(explanation: PackageExplanation): string {
  const { verdict, reason, version, rootKeys, disabledRootKeys, disabledSigningKeys, extendedResultCode } = explanation
  const facts = [
    `root key package version ${version}: root keys ${rootKeys.join(', ')}`,
    `withdrawn: ${disabledRootKeys.join(', ') || 'no'} root keys, ${disabledSigningKeys} signing keys`,
  ]
  const code = verdict === 'accept' ? '' : ` (${extendedResultCode})`
  const lines = [...(verdict === 'accept' ? facts : []), `${verdict.toUpperCase()}: ${reason}${code}`, '']
  return lines.map(onOneLine).join('\n')
}
