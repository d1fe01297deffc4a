import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { linesOf } from '../../image/builder/data.ts'
import { layoutOf, makeDataPartition } from '../../image/builder/disk.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'

// systemd's own journald with the image's settings, on the data partition as it is on a card of 2 GB, for a year and a bad hour.

/** 300 lines a day, an assumption. */
const YEAR = 365 * 300
/** 1,000 lines a second for a minute. */
const STORM = 60_000
const MIB = 2 ** 20
/** What a card of 2 GB (7 % less than that) leaves for data. */
const DATA = 750 * MIB

const JOURNALD = '/usr/lib/systemd/systemd-journald'
/** In namespaces of its own, which end with it: everything that is mounted and started here is gone then. */
const ALONE = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private']

// $1: partition, $2: settings of the image, $3, $4: lines, $5: mount options. Prints `NAME VALUE`. journald may write faster than in life, without the limit of lines that one unit may log, and as a
// namespace of its own it leaves the kernel's log and audit of this machine alone.
const SCRIPT = `set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/data /run/systemd
mount -o "loop,$5" "$1" /run/data
echo "reserved $(($(stat -f -c '%f - %a' /run/data)))"
mount --bind /run/data/log /var/log
mount -t tmpfs tmpfs /etc/systemd
mount --bind /dev/null /dev/console
mkdir /etc/systemd/journald@year.conf.d
cp "$2" /etc/systemd/journald@year.conf.d/image.conf
printf '[Journal]\\nRateLimitIntervalSec=0\\n' >/etc/systemd/journald@year.conf.d/zz-test.conf
${JOURNALD} year 2>/dev/null &
journald=$!
for i in $(seq 300); do [ -S /run/systemd/journal.year/stdout ] && break; sleep 0.1; done
ln -s journal.year /run/systemd/journal
# Without a client journald would end.
sleep infinity | systemd-cat -t client &

# $1: words in front of the number, $2: how many lines
lines() {
  seq -f "$1 %.0f: hub.connected host=my-hub.azure-devices.net device=pi-0001 after=1.8s address=192.168.1.17" "$2" | systemd-cat -t pi-adu
  journalctl --namespace=year --sync
}
newest() { echo "$1 $(journalctl --namespace=year --directory "/var/log/journal/$(cat /etc/machine-id).year" -n 1 -o cat -t pi-adu | cut -d: -f1)"; }
sizes() { echo "$1-log $(du -sB1 /var/log/journal | cut -f1)"; echo "$1-free $(stat -f -c '%a' /run/data)"; }
state() {
  setpriv --reuid 870 --regid 870 --clear-groups sh -c 'cd /run/data/adu/state && dd if=/dev/zero of=new bs=64k count=16 conv=fsync 2>/dev/null && mv new journal.json' \\
    && echo "$1 fits" || echo "$1 lost"
}

lines year "$3"
newest year-newest
sizes year

# An application that fills what there is, also what is freed later, and says so all the time.
mkdir -m 777 /run/data/app
setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'cd /run/data/app; fallocate -l "$1" full; while :; do cat /dev/zero 2>/dev/null >>full; sleep 0.02; done' sh "$(($(stat -f -c '%a * %S' /run/data) - 20000000))" &
filler=$!
for i in $(seq 600); do [ "$(stat -f -c %a /run/data)" -lt 64 ] && break; sleep 0.1; done
lines storm "$4"
state state-in-storm
lines storm2 "$4"
state state-after-storm
sizes storm
kill -0 $journald && echo journald lives
kill $filler

rm /run/data/app/full
lines later 100
newest later-newest
sizes later
kill $journald
wait $journald || true
umount -l /var/log /run/data`

let home: string
const facts = new Map<string, string>()
const skip = whyNot()

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'needs root, to mount'
  if (
    !existsSync(JOURNALD) ||
    !existsSync('/etc/machine-id') ||
    readFileSync('/etc/machine-id', 'utf8').trim().length !== 32
  )
    return 'needs systemd, and a machine id'
  const tried = spawnSync(ALONE[0]!, [
    ...ALONE.slice(1),
    'sh',
    '-c',
    'mount -t tmpfs tmpfs /run && [ -b "$(losetup -f)" ]',
  ])
  return tried.status === 0 ? false : 'needs the right to mount, and loop devices'
}

/** Those of the data partition in the image's fstab that mount(8) knows. */
function mountOptions(): string {
  const table = readFileSync(join(repositoryRoot(), 'image/rootfs/etc/fstab'), 'utf8')
  const options = /^PARTUUID=\S+ \/data ext4 (\S+)/m.exec(table)?.[1] ?? assert.fail('no /data in fstab')
  return options
    .split(',')
    .filter(option => option !== 'nofail' && !option.startsWith('x-'))
    .join(',')
}

suite('a year of logs, then an application that fills the partition and logs 1,000 lines a second', { skip }, () => {
  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'log-year-'))
    const image = join(home, 'data.ext4')
    const layout = layoutOf(readFileSync(join(repositoryRoot(), 'image/partitions.sfdisk'), 'utf8'))
    await makeDataPartition(image, layout.data.size, home, linesOf('data.txt'), 1_760_000_000)
    // As it grows at the first boot: the kernel rounds what is reserved down to whole percents.
    truncateSync(image, DATA)
    for (const [program, ...more] of [
      ['resize2fs', '-f', image],
      ['tune2fs', '-m', '4', image],
    ] as const)
      assert.equal(spawnSync(program, more).status, 0, program)
    const settings = join(repositoryRoot(), 'image/rootfs/etc/systemd/journald.conf.d/pi-adu.conf')
    const argv = [
      ...ALONE.slice(1),
      'sh',
      '-c',
      SCRIPT,
      'sh',
      image,
      settings,
      String(YEAR),
      String(STORM),
      mountOptions(),
    ]
    const { status, stdout, stderr } = spawnSync(ALONE[0]!, argv, { encoding: 'utf8', timeout: 300_000 })
    assert.equal(status, 0, `${stdout}${stderr}`)
    for (const line of stdout.trim().split('\n')) facts.set(line.split(' ', 1)[0]!, line.slice(line.indexOf(' ') + 1))
  })
  after(() => rmSync(home, { recursive: true, force: true }))

  const number = (name: string): number => Number(facts.get(name) ?? assert.fail(`no ${name}`))
  const LIMIT = 17 * MIB // and the size of the folders

  test('the log has its newest line, and does not grow beyond its limit', () => {
    assert.equal(facts.get('year-newest'), `year ${YEAR}`)
    assert.ok(number('year-log') <= LIMIT, facts.get('year-log'))
    // The year is longer than the log: what is measured is its limit.
    assert.ok(number('year-log') >= 10 * MIB, facts.get('year-log'))
  })

  test('more is reserved than the log can take, since journald is root', () => {
    assert.ok(number('reserved') * 4096 >= LIMIT + 2 * MIB, facts.get('reserved'))
  })

  test('the partition is full, and the agent’s state fits, also when journald wants more', () => {
    assert.ok(number('storm-free') < 64, facts.get('storm-free'))
    assert.equal(facts.get('state-in-storm'), 'fits')
    assert.equal(facts.get('state-after-storm'), 'fits')
    assert.ok(number('storm-log') <= LIMIT, facts.get('storm-log'))
    assert.equal(facts.get('journald'), 'lives')
  })

  test('with room again, the log goes on', () => {
    assert.equal(facts.get('later-newest'), 'later 100')
    assert.ok(number('later-log') <= LIMIT, facts.get('later-log'))
    assert.ok(number('later-free') * 4096 >= DATA / 2, facts.get('later-free'))
  })
})
