import type { BenchFacts, DeviceFacts } from './facts.ts'

/** For a person: what runs, and how to use it. */
export function describeBench(facts: BenchFacts, how: string): string {
  const { hub, own } = { hub: facts.serviceConnectionString, own: facts.deviceConnectionString }
  return [
    `The bench ${how} (process ${facts.pid}, log ${facts.log}).`,
    '',
    ...facts.devices.flatMap(describeDevice),
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
    '  scripts/bench cancel | retry | status | down',
  ].join('\n')
}

function describeDevice(device: DeviceFacts): string[] {
  const { id, power, connected, booted, version, boot, reported } = device
  const trial = boot && boot.trial !== 'none' ? `, trial ${boot.trial}` : ''
  return [
    `device ${id}    ${power === 'on' ? `on, ${connected ? 'connected' : 'not connected'}` : 'off'}: system ${version ?? '?'} in slot ${booted ?? '?'}${trial}`,
    `              ${device.dir}`,
    ...(reported?.lastInstallResult ? [`              ${describeResult(reported)}`] : []),
  ]
}

/** `deviceUpdate.agent` of a twin, on one line. */
export function describeResult(agent: Readonly<Record<string, unknown>>): string {
  const { resultCode, extendedResultCodes, resultDetails } = (agent.lastInstallResult ?? {}) as Record<string, unknown>
  const details = resultDetails ? `: ${resultDetails}` : ''
  return `state ${agent.state}, result ${resultCode}, extended ${extendedResultCodes}${details}`
}
