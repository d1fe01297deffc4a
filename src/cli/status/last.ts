import { Program } from '../../adapters/system/program.ts'
import { redact } from '../../domain/redact.ts'
import { onOneLine } from '../../domain/terminal.ts'
import type { AgentView } from '../../view/view.ts'
import { type Line, rows } from '../lines.ts'
import { linesOf } from '../logs/pieces.ts'
import { ofDeployment } from './text.ts'

/** Lines of the trial's own log that are shown. */
const LOG_LINES = 10

type Boot = NonNullable<AgentView['lastTrial']>['boots'][number]

/** The last deployment: its result, and how far each trial boot came. Foreign texts are made safe for a terminal. */
export async function describeLast(view: AgentView): Promise<string> {
  const boots = view.lastTrial?.boots ?? []
  const lines: readonly Line[] = [
    ...ofDeployment(view),
    ...(view.lastTrial ? [['trial', view.lastTrial.summary] as const] : []),
    ...boots.flatMap(linesOfBoot),
  ]
  const log = await lastLog(boots.at(-1)?.id)
  const heading = log.length > 0 ? ['', 'The last lines of its log:', ...log] : []
  return [...lines.flatMap(rows), ...heading].map(row => `${row}\n`).join('')
}

/** One milestone to a line. */
function linesOfBoot({ milestones, end }: Boot, index: number): readonly Line[] {
  const name = `boot ${index + 1}`
  const reached = milestones.map(
    each => `${each.seconds.toFixed(1)} s  ${each.name}${each.text ? ` ${each.text}` : ''}`,
  )
  const ended = end ? [`end: ${end.how}${end.text ? `: ${end.text}` : ''}`] : []
  return [...reached, ...ended].map((text, at) => [at === 0 ? name : '', text] as const)
}

/** From the system's journal, which outlives the boot; empty where that cannot be read. */
async function lastLog(boot: string | undefined): Promise<readonly string[]> {
  if (boot === undefined || !/^[0-9a-f-]{32,36}$/.test(boot)) return []
  const argv = ['journalctl', '--no-pager', '--quiet', '--output=short-monotonic', `--lines=${LOG_LINES}`] as const
  const program = new Program([...argv, `--boot=${boot.replaceAll('-', '')}`], {
    signal: new AbortController().signal,
    timeout: 30_000,
  })
  const lines: string[] = []
  for await (const line of linesOf(program.stdout)) lines.push(onOneLine(redact(line)))
  await program.ended
  return lines
}
