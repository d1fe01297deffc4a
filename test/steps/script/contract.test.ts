import assert from 'node:assert/strict'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { ercText } from '../../../src/domain/result-codes.ts'
import type { StepOrder, Verb } from '../../../src/ports/steps.ts'
import { ScriptWorker } from '../../../src/steps/script/worker.ts'
import { aService } from '../support.ts'

/**
 * In the manner of the reference's A/B script, and with its habits: it stops reading at an empty word, makes its result file
 * anew, logs to a folder that may not be there, prints colours, and computes its codes.
 */
const A_B = `#!/bin/bash
log_file=/adu/logs/not-there.log
version_file= slot= image= criteria= action= reboot= result_file=
say() { echo -e "\\033[1;34m[I]\\033[0m $*"; echo "$*" >> $log_file; }
say "begin" "$@" 2> /dev/null
while [[ $1 != "" ]]; do
  case $1 in
  --action) shift; action=$1; shift ;;
  --action-*) action=\${1#--action-}; shift ;;
  --swu-file) shift; image="$1"; shift ;;
  --installed-criteria) shift; if [[ -z $1 || $1 == -* ]]; then exit 1; fi; criteria="$1"; shift ;;
  --result-file) shift; result_file="$1"; rm -f -r "$1"; mkdir -p "$1"; rm -f -r "$1"; shift ;;
  --work-folder) shift; work="$1"; shift ;;
  --version-file) shift; version_file="$1"; shift ;;
  --slot) shift; slot="$1"; shift ;;
  --restart-to-apply) reboot=yes; shift ;;
  *) shift ;;
  esac
done
erc() { local -n out=$2; out=$((0x30101000 + $1)); }
answer() { echo "{\\"resultCode\\":$1, \\"extendedResultCode\\":$2,\\"resultDetails\\":\\"$3\\"}" > "$result_file"; }
case $action in
is-installed)
  if ! [[ -f $version_file ]]; then erc 100 code; answer 0 $code "no version file"
  elif grep -q "^$criteria$" "$version_file"; then answer 900 0 ""; else answer 901 0 ""; fi ;;
download) answer 500 0 "" ;;
install)
  if [[ -f $image ]]; then cp "$image" "$slot"; answer 600 0 ""; else answer 0 0x30100202 "no image"; fi ;;
apply)
  echo "$criteria" > "$version_file"
  if [[ $reboot == yes ]]; then answer 705 0 ""; else answer 700 0 ""; fi ;;
cancel) answer 801 0 "too late" ;;
esac
exit 0
`

const STEP = {
  handler: 'microsoft/swupdate:2',
  files: { 'ab.sh': A_B, 'a.swu': 'the image' },
  properties: { swuFileName: 'a.swu', installedCriteria: 'edge 4.0.17', arguments: ' --restart-to-apply  --x y' },
}

test('a script in the manner of the published ones installs an image, in both styles of the action', async t => {
  for (const apiVersion of ['1.0', '1.1']) {
    const device = { file: '' }
    const service = await aService(t, {
      workers: { script: { run: (...given) => new ScriptWorker(device.file).run(...given) } },
    })
    const at = (name: string) => join(service.dir, name)
    device.file = at('device.json')
    await writeFile(device.file, JSON.stringify({ '--version-file': at('version'), '--slot': at('slot') }), {
      mode: 0o644,
    })
    for (const name of ['version', 'slot']) {
      await writeFile(at(name), 'edge 4.0.16\n')
      await chmod(at(name), 0o666)
    }
    const order = await service.order({ ...STEP, properties: { ...STEP.properties, apiVersion } })
    const codes: string[] = []
    const verbs: readonly Verb[] = [
      'isInstalled',
      'download',
      'install',
      'isInstalled',
      'cancel',
      'apply',
      'isInstalled',
    ]
    for (const [index, verb] of verbs.entries()) {
      const result = await service.run({ ...order, id: `${order.id}-${index}`, verb } satisfies StepOrder)
      assert.ok(typeof result === 'object', String(result))
      codes.push(`${result.resultCode} ${ercText(result.extendedResultCode)}`)
    }
    const expected = [901, 500, 600, 901, 801, 705, 900].map(code => `${code} 00000000`)
    assert.deepEqual(codes, expected)
    assert.equal(await readFile(at('slot'), 'utf8'), 'the image')
  }
})

test('a script gets the words of the contract, each one whole, and no more of its surroundings than that', async t => {
  const echo = '#!/bin/sh\nfor word; do echo "[$word]"; done\nexit 1\n'
  const device = { file: '' }
  const service = await aService(t, {
    workers: { script: { run: (...given) => new ScriptWorker(device.file).run(...given) } },
  })
  device.file = join(service.dir, 'device.json')
  await writeFile(device.file, '{"--log-level":"0 1"}', { mode: 0o644 })
  const properties = {
    ...STEP.properties,
    installedCriteria: `grep "a'b" $(reboot) | x; ~`,
    arguments: '$HOME `id` "a b"',
  }
  const order = await service.order({ ...STEP, files: { ...STEP.files, 'ab.sh': echo }, properties })
  const result = await service.run(order)
  assert.ok(typeof result === 'object')
  assert.equal(ercText(result.extendedResultCode), '30101001')
  // The last three lines of what it printed.
  assert.match(
    result.resultDetails,
    /\/aduc_result\.json\]; \[--installed-criteria\]; \[grep "a'b" \$\(reboot\) \| x; ~\]$/,
  )
})

test('a device file that cannot be used fails the step before the script is called', async t => {
  const service = await aService(t, {
    workers: { script: { run: (...given) => new ScriptWorker(join(service.dir, 'device.json')).run(...given) } },
  })
  await writeFile(join(service.dir, 'device.json'), '{"--log-level":0}', { mode: 0o644 })
  const result = await service.run(await service.order(STEP))
  assert.ok(typeof result === 'object')
  assert.match(
    `${ercText(result.extendedResultCode)} ${result.resultDetails}`,
    /^30100020 .*"--log-level" is not a text$/,
  )
})

test('a script without #! is for the shell', async t => {
  const service = await aService(t, { workers: { script: new ScriptWorker() } })
  const script = 'while [ "$1" ]; do [ "$1" = --result-file ] && echo \'{"resultCode":600}\' > "$2"; shift; done\n'
  const result = await service.run(await service.order({ files: { 'run.sh': script } }))
  assert.deepEqual(result, { resultCode: 600, extendedResultCode: 0, resultDetails: '' })
})
