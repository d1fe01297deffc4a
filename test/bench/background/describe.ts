import { onOneLine } from '../../../src/domain/terminal.ts'
import type { BenchFacts, DeviceFacts } from './facts.ts'

/** For a person: what runs, and how to use it. */
export function describeBench(facts: BenchFacts, how: string): string {
  const { hub, own } = { hub: facts.serviceConnectionString, own: facts.deviceConnectionString }
  return [
    `The bench ${how} (process ${facts.pid}, log ${facts.log}).`,
    '',
    ...facts.devices.flatMap(describeDevice),
    ...(facts.web === null ? [] : [`page          ${facts.web}`]),
    '',
    'Programs of your own, with unmodified SDKs:',
    '  environment   eval "$(scripts/bench env)"',
    `  service       ${hub}`,
    `  device        ${own}`,
    `  content       ${facts.contentUrl} serves ${facts.contentDir}`,
    '',
    'Try:',
    `  scripts/bench deploy --wait           deploys ${facts.bundle.version} to ${facts.devices[0]?.id}`,
    '  scripts/bench power cut               pulls the plug, whenever you like; power on puts it back',
    '  scripts/run-qemu --put "$(scripts/bench card)"   the image in QEMU as one more device',
    `  the method firmwareUpdate of ${facts.devices[0]?.id}, from a service script of your own: the older pattern, with`,
    `                {"fwPackageUri": "${facts.bundle.url}"}`,
    '  scripts/bench cancel | retry | status | down',
  ].join('\n')
}

export function describeDevice(device: DeviceFacts): string[] {
  const { id, place, power, connected, reported, dir } = device
  const link = connected ? 'connected' : 'not connected'
  const state = place === 'qemu' ? `in QEMU, ${link}` : power === 'on' ? `on, ${link}` : 'off'
  return [
    `device ${id}    ${state}${place === 'qemu' ? '' : `: ${systemOf(device)}`}`,
    `              ${dir}`,
    ...(reported?.lastInstallResult ? [`              ${describeResult(reported)}`] : []),
  ]
}

function systemOf({ version, booted, boot }: DeviceFacts): string {
  const other = boot?.primary === 'a' ? 'b' : 'a'
  // A trial that failed was that of the slot which was left.
  const trial = { none: '', pending: `, slot ${boot?.primary} on trial`, failed: `, the trial of slot ${other} failed` }
  return `system ${onOneLine(version ?? '?')} in slot ${booted ?? '?'}${trial[boot?.trial ?? 'none']}`
}

/** `deviceUpdate.agent` of a twin, on one line. */
export function describeResult(agent: Readonly<Record<string, unknown>>): string {
  const { resultCode, extendedResultCodes, resultDetails } = (agent.lastInstallResult ?? {}) as Record<string, unknown>
  const details = resultDetails ? `: ${resultDetails}` : ''
  return onOneLine(`state ${agent.state}, result ${resultCode}, extended ${extendedResultCodes}${details}`)
}
