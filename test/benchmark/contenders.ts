import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { runProgram } from '../bench/workbench/program.ts'
import type { InstallFigures } from './agent-run.ts'
import type { Payload, Rig } from './rig.ts'

/** What people use instead; each ends, like the agent, with the slot on the disk. */
export const CONTENDERS = {
  swupdate: 'swupdate -d -u URL',
  pipe: 'curl | swupdate -i FIFO',
  staged: 'curl to a file, sha256sum, swupdate -i FILE',
  limit: 'curl | tee >(sha256sum) > slot',
} as const

export type Contender = keyof typeof CONTENDERS

const CURL = 'curl --silent --show-error --fail --cacert "$CA"'

const SCRIPTS: Record<Contender, string> = {
  // Its downloader knows no option for an authority: for this one process the system's list is the rig's.
  swupdate: '"$@" -d "-u $URL"',
  pipe: `mkfifo fifo; ${CURL} "$URL" > fifo & "$@" -i fifo; wait`,
  staged: `${CURL} -o staged.swu "$URL"; sync staged.swu; sha256sum staged.swu > sum; "$@" -i staged.swu; rm staged.swu`,
  limit: `${CURL} "$URL" | tee >(sha256sum > sum) > "$SLOT"; wait`,
}

const MEASURED = `
set -eu
cd "$WORK"
mkdir pi-adu
ln -s "$SLOT" pi-adu/b
BEGIN=$EPOCHREALTIME
{ $SCRIPT } > log 2>&1
sync "$SLOT"
END=$EPOCHREALTIME
echo "$BEGIN $END"
times
cat /proc/$$/io
`

/** Runs one of them on the rig's slot b. */
export async function installWith(contender: Contender, rig: Rig, payload: Payload): Promise<InstallFigures> {
  const work = join(rig.dir, 'contender')
  await rm(work, { recursive: true, force: true })
  await mkdir(work)
  const script = MEASURED.replace('{ $SCRIPT }', () => `{ ${SCRIPTS[contender]}; }`)
  const own = contender === 'swupdate' ? ['unshare', '--mount', '--map-root-user', 'bash', '-c', WITH_OWN_LIST] : []
  const argv = [...own, 'bash', '-c', script, 'bash', ...rig.swupdate] as unknown as [string, ...string[]]
  const out = await runProgram(argv, {
    env: { WORK: work, URL: payload.url, CA: rig.caFile, SLOT: rig.device.slots.b, TMPDIR: work },
  }).catch(async error => {
    throw new Error(
      `${CONTENDERS[contender]}: ${error.message}\n${await runProgram(['tail', '-5', join(work, 'log')])}`,
    )
  })
  return figures(out.toString())
}

const WITH_OWN_LIST = 'mount --bind "$CA" /etc/ssl/certs/ca-certificates.crt && exec "$0" "$@"'

function figures(text: string): InstallFigures {
  const [times, , children, ...io] = text.split('\n')
  const [begin, end] = (times ?? '').split(' ').map(Number)
  const cpu = [...(children ?? '').matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, seconds]) => Number(minutes) * 60 + Number(seconds),
  )
  const written = io.find(line => line.startsWith('write_bytes:'))?.split(' ')[1]
  return {
    ms: (end! - begin!) * 1000,
    cpuSeconds: cpu.reduce((sum, each) => sum + each, 0),
    writtenBytes: Number(written),
    peakMB: Number.NaN,
  }
}
