import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { packageFault } from '../../image/builder/package-faults.ts'
import { step } from '../../image/builder/progress.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { run, runAsRoot } from '../../image/builder/run.ts'

const home = mkdtempSync(join(tmpdir(), 'run-'))
after(() => rmSync(home, { recursive: true, force: true }))

test('an error has the words of the program that failed, wherever it said them', async () => {
  await assert.rejects(run(['sh', '-c', 'echo "E: no space left" >&2; exit 3']), /failed \(3\): E: no space left$/)
  await assert.rejects(run(['sh', '-c', 'echo on stdout; exit 1']), /: on stdout$/)
  await assert.rejects(run(['sh', '-c', 'echo "E: why" >&2; echo "I: removing tempdir..." >&2; exit 1']), /: E: why$/)
  await assert.rejects(run(['sh', '-c', 'exit 1']), /it said nothing/)
  await assert.rejects(run(['no-such-program']), /not installed/)
})

test('packages that apt cannot install are one line with their names', () => {
  const end = 'E: apt download failed: E: apt-get --yes install bash dash failed\nE: mmdebstrap failed to run'
  const said = (lines: string) => packageFault(`mmdebstrap --variant=custom failed (25): ${lines}\n${end}`)
  assert.equal(
    said('Reading package lists...\nE: Unable to locate package one\nE: Unable to locate package two'),
    'no source has the package one, two: look at packages.txt',
  )
  assert.match(said("Reading...\nE: Package 'one' has no installation candidate") ?? '', /has the package one:/)
  assert.equal(
    said(
      'The following packages have unmet dependencies:\n systemd-sysv : Conflicts: sysvinit-core but 3.14-4 is to be installed\n' +
        ' sysvinit-core : Depends: initscripts but it is not installable\n                 Conflicts: systemd-sysv\n' +
        'E: Unable to correct problems, you have held broken packages.',
    ),
    'the packages do not go together: systemd-sysv : Conflicts: sysvinit-core but 3.14-4 is to be installed; ' +
      'sysvinit-core : Depends: initscripts but it is not installable: look at packages.txt',
  )
  assert.equal(said('E: Failed to fetch http://deb.debian.org/x  Connection failed'), undefined)
})

test('a program of ours that runs as root hands on the words of the tool, without a stack', async () => {
  const description = { work: home, base: '/nowhere', parts: '', initramfs: '', native: '', overlay: '', dev: false }
  const program = (name: string): string => join(repositoryRoot(), 'dist/image/builder', name)
  await assert.rejects(runAsRoot(program('root-tree.js'), description), ({ message }: Error) => {
    assert.match(message, /tar: .*\/nowhere\/base\.tar: .*No such file or directory/)
    assert.doesNotMatch(message, /^\s+at |Node\.js/m)
    return true
  })
  await assert.rejects(
    runAsRoot(program('disk.js'), [join(home, 'none/data'), 2 ** 20, home, [], 0]),
    /data partition: mke2fs .* failed \(1\): mke2fs: No such file/,
  )
})

test('a step says what it does while it takes long', async () => {
  let text = ''
  const work = async (): Promise<void> =>
    void (await run(['sh', '-c', 'echo "I: installing packages..." >&2; sleep 0.5']))
  await step('packages', work, { write: more => (text += more), everyMs: 200 })
  assert.match(text, /^packages …\n {2}0 s: sh: I: installing packages\.\.\. …\n(.*\n)? *.* \d.* s\n$/)

  text = ''
  await step('short', () => sleep(10), { write: more => (text += more) })
  assert.match(text, /^short … 0(\.\d)? s\n$/)

  text = ''
  await assert.rejects(step('wrong', () => run(['false']), { write: more => (text += more) }))
  assert.equal(text, 'wrong … failed\n')
})
