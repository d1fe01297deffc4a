import type { Command } from 'commander'
import { explain } from '../../explain/command.ts'
import { EXIT, Failure } from '../failure.ts'

export function addExplain(program: Command): void {
  program
    .command('explain')
    .description('say in words what a result code means and what to do about it')
    .argument('<code or text...>', 'a code, a line of the log, a report, or words to search for')
    .option('--json', 'as a JSON list', false)
    .action((words: readonly string[], { json }: { json: boolean }) => {
      const result = explain(words, json)
      if ('why' in result) throw new Failure(EXIT.usage, result.why)
      process.stdout.write(result.text)
    })
}
