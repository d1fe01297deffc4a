import { randomUUID } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { StepEntry } from '../../src/operator/import-manifest/wanted-step.ts'
import type { Pi } from './pi.ts'

export interface ScriptOptions {
  /** Shell commands of `install`, before it succeeds. They may call `say CODE [EXTENDED] [DETAILS]` and exit. */
  readonly install?: string
  /** Result code of `apply`. */
  readonly apply?: number
  /** Between the begin of `install` and the end of `apply` it cannot say whether it is installed. */
  readonly isUnsure?: true
}

/** A script for one device: it notes what it does in a file beside the device, and knows what it has installed. */
export async function scriptStep(pi: Pi, name: string, { install = '', apply = 700, isUnsure }: ScriptOptions = {}) {
  const dir = join(pi.folder.dir, 'scripts', randomUUID())
  await mkdir(dir, { recursive: true })
  const path = join(dir, `${name}.sh`)
  await writeFile(path, scriptText(pi, name, `${isUnsure ? `: > '${begun(pi, name)}'` : ''}\n${install}`, apply))
  return { step: `script:${path}`, installedCriteria: name } satisfies StepEntry
}

const noteFile = ({ folder }: Pi): string => join(folder.dir, 'notes')

/** Each call that changes something, as `NAME ACTION SYSTEM`. */
export async function notes(pi: Pi): Promise<readonly string[]> {
  return (await readFile(noteFile(pi), 'utf8').catch(() => '')).split('\n').filter(Boolean)
}

/** The calls of `install`. */
export const installs = async (pi: Pi): Promise<readonly string[]> =>
  (await notes(pi)).filter(line => line.includes(' install ')).map(line => line.split(' ')[0] ?? '')

/** Written by a script that waits, and the file that lets it go on. */
export const waitsIn = (pi: Pi, name: string): string => join(pi.folder.dir, `waits-${name}`)
export const goesOn = (pi: Pi, name: string): string => join(pi.folder.dir, `goes-on-${name}`)

/** Shell commands that wait for a file; at most a minute. */
export const waiting = (pi: Pi, name: string): string => `
: > '${waitsIn(pi, name)}'
n=0
while [ ! -e '${goesOn(pi, name)}' ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n + 1)); done`

const scriptText = (pi: Pi, name: string, install: string, apply: number): string => `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --action-*) action=\${1#--action-} ;;
    --result-file) result=$2; shift ;;
    --work-folder) work=$2; shift ;;
  esac
  shift
done
say() { printf '{"resultCode":%s,"extendedResultCode":%s,"resultDetails":"%s"}\\n' "$1" "\${2:-0}" "\${3:-}" > "$result"; }
note() { echo "${name} $action $(cat '${pi.folder.root}/etc/adu-version')" >> '${noteFile(pi)}'; }
case $action in
  is-installed) if [ -e '${installed(pi, name)}' ]; then say 900; elif [ -e '${begun(pi, name)}' ]; then exit 3; else say 901; fi ;;
  download) say 500 ;;
  install) note
${install}
    say 600 ;;
  apply) note; : > '${installed(pi, name)}'; say ${apply} ;;
  cancel) note; say 800 ;;
esac
`

const begun = ({ folder }: Pi, name: string): string => join(folder.dir, `begun-${name}`)
const installed = ({ folder }: Pi, name: string): string => join(folder.dir, `installed-${name}`)
