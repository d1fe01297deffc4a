import assert from 'node:assert/strict'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { measured, packBundle } from '../../src/operator/bundle/pack.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { at, create, dir, image, shown, signer, swupdate, usual } from './authoring.ts'
import { operator } from './support.ts'

test('an image that no slot can start from is refused by name, also inside a compressed one', async () => {
  const disk = Buffer.alloc(1 << 20)
  Buffer.from('00000000830000000008000000100000', 'hex').copy(disk, 446)
  disk.writeUInt16BE(0x55aa, 510)
  const gpt = Buffer.alloc(1 << 20)
  gpt.write('EFI PART', 512)
  await writeFile(at('tree'), 'hello')
  await runProgram(['tar', '-C', dir, '-cf', at('a.tar'), 'tree'])
  await writeFile(at('tree.xz'), Buffer.from('fd377a585a000004e6d6b446', 'hex'))
  await writeFile(at('tree.bz2'), Buffer.from('425a68393141592653590000', 'hex'))
  await writeFile(at('a.zip'), Buffer.from('504b0304140000000000', 'hex'))
  for (const [name, content] of [
    ['mbr', disk],
    ['gpt', gpt],
    ['empty', Buffer.alloc(0)],
  ] as const) {
    await writeFile(at(name), content)
  }
  await runProgram(['zstd', '-q', at('mbr'), '-o', at('mbr.zst')])
  await runProgram(['gzip', '-k', at('a.tar')])
  await runProgram(['zstd', '-q', at('a.tar.gz'), '-o', at('twice.zst')])
  const rows: readonly (readonly [string, RegExp])[] = [
    ['tree.xz', /tree\.xz is compressed with xz, which SWUpdate cannot unpack: use zstd or gzip/],
    ['tree.bz2', /compressed with bzip2/],
    ['a.zip', /compressed with zip/],
    ['a.tar', /a\.tar is a tar archive/],
    ['a.tar.gz', /a\.tar\.gz, unpacked, is a tar archive/],
    ['mbr', /mbr is a whole disk/],
    ['gpt', /is a whole disk/],
    ['mbr.zst', /mbr\.zst, unpacked, is a whole disk/],
    ['twice.zst', /twice\.zst, unpacked, is compressed twice/],
    ['empty', /empty is empty/],
  ]
  for (const [name, line] of rows) {
    const { exitCode, stderr } = await create('never.swu', ...usual(), '--image', at(name))
    assert.match(stderr, line)
    assert.deepEqual([exitCode, stderr.trim().split('\n').length], [64, 1], name)
  }
  // The boot sector of a FAT file system ends as that of a disk does, with code where a disk has its table.
  const fat = Buffer.alloc(1 << 20)
  Buffer.from('eb3c904d53444f53352e30', 'hex').copy(fat)
  fat.write('FAT16   ', 54)
  fat.write('Remove disks or other media.\xff\r\nPress any key', 440, 'latin1')
  fat.writeUInt16BE(0x55aa, 510)
  await writeFile(at('fat'), fat)
  assert.equal((await create('fine.swu', ...usual(), '--image', at('fat'))).exitCode, 0)
})

test('an image beyond 4 GiB is refused before it is read', async () => {
  const file = await open(at('huge'), 'w')
  // Its zeros could not be read within the time that a command has in a test.
  await file.truncate(2 ** 42)
  await file.close()
  const { exitCode, stderr } = await create('never.swu', ...usual(), '--image', at('huge'))
  assert.match(stderr, /huge is larger than 4 GiB/)
  assert.equal(exitCode, 64)
})

test('patterns for the hardware keep their colon, and are tried', async () => {
  const signed = ['--image', image, '--cert', signer.certificate, '--key', signer.key]
  const many = ['--hardware', '#RE:^(1|2)[.][0-9]$', '#RE:[[:digit:]]:x', 'board:3.0', 'board:#RE:^4', '5']
  assert.equal((await create('pattern.swu', ...signed, ...many)).stderr, '')
  const { hardware, exitCode } = await shown('pattern.swu')
  assert.deepEqual([exitCode, hardware], [0, ['#RE:^(1|2)[.][0-9]$', '#RE:[[:digit:]]:x', '3.0', '#RE:^4', '5']])
  assert.match(await swupdate('pattern.swu', 'a', ['-c']), /SWUPDATE successful/)
  for (const [pattern, line] of [
    ['#RE:[', /not an extended regular/],
    ['#RE:', /no revision/],
    ['pi:', /no revision/],
  ] as const) {
    const { exitCode, stderr } = await create('never.swu', ...signed, '--hardware', pattern)
    assert.match(stderr, line)
    assert.equal(exitCode, 64)
  }
})

test('a bundle for one slot is made with a warning, and is not in order unless that is all the devices select', async () => {
  const { stderr, exitCode } = await create('one.swu', ...usual(), '--image-a', image)
  assert.match(
    stderr,
    /^pi-adu-operator: warning: .*one\.swu has no image for slot b: a device that runs slot a cannot install it$/,
  )
  assert.equal(exitCode, 0)
  const half = await shown('one.swu')
  assert.equal(half.exitCode, 1)
  assert.match(half.findings.join(), /nothing for the selection stable,b.*it has stable,a/)
  assert.equal((await shown('one.swu', '--selection', 'stable,a')).exitCode, 0)
  assert.match((await shown('one.swu', '--selection', 'main,a', 'main,b')).findings.join(), /main,a.*main,b/)
  assert.match((await operator(['bundle', 'show', at('one.swu'), '--selection', 'a'])).stderr, /not like stable,a/)
})

test('descriptions that others wrote: good ones are in order, bad ones never', async () => {
  await writeFile(at('x'), Buffer.alloc(5000, 'x'))
  const x = await measured(at('x'), 'x')
  const entryFor = (slot: string) =>
    `{ filename = "x"; type = "raw"; device = "pi-adu/${slot}"; installed-directly = true; sha256 = "${x.sha256}"; }`
  const entry = entryFor('a')
  const both = `stable = { a = { images: ( ${entry} ) }; b = { images: ( ${entryFor('b')} ) } };`
  const head = 'version = "1"; hardware-compatibility: [ "1.0" ];'
  const rows: readonly (readonly [string, RegExp | undefined])[] = [
    [`${head} ${both}`, undefined],
    [`version = "1"; pi = { hardware-compatibility: [ "1.0" ] }; ${both}`, undefined],
    [
      `${head} x = ( ${entry} ); y = ( ${entryFor('b')} ); stable = { a = { images: ( { ref = "#../../x" } ) }; b = { images: ( { ref = "#software/y" } ) } };`,
      undefined,
    ],
    [`${head} version = "2"; ${both}`, /has version twice/],
    [`version = "1"; hardware-compatibility: [ "1.0", 1 ]; ${both}`, /mixed types/],
    [`version = "1"; hardware-compatibility: [ "1.0", ]; ${both}`, /"," before "\]"/],
    [
      `${head} files: ( { filename = "x"; path = "/x"; sha256 = "${x.sha256}" } );`,
      /refuses .*files alone are not a system update/,
    ],
    [`${head} ${both.replaceAll('pi-adu/b', 'pi-adu/a')}`, /stable,a and stable,b both write to pi-adu\/a/],
    [
      `${head} x = { images: ( ${entry} ) }; stable = { a = { ref = "#../x" } };`,
      /links the group a with ref, which SWUpdate of Debian 13/,
    ],
    [`${head} ${both} scripts: ( { filename = "x"; type = "shellscript"; sha256 = "${x.sha256}" } );`, /uses x twice/],
    [
      `${head} ${both} scripts: ( { type = "gptswap"; sha256 = "${x.sha256}" } );`,
      /refuses stable,a: .*scripts: they would run/,
    ],
    [`${head} ${both.replaceAll('installed-directly = true;', '')}`, /refuses stable,a: .*temporary folder/],
    [`${head} stable = { b = { images: ( ${entry} ) } };`, /nothing for the selection stable,a/],
    [`${head} ${both.replace('sha256', 'size = 7; sha256')}`, /size is another one, which SWUpdate of Debian 13/],
    [`${head} hardware-compatability: [ "1" ]; ${both}`, /hardware-compatability, which SWUpdate does not know/],
    [`${head} ${both.replace('type', 'typ')}`, /the setting typ, which/],
    [
      `${head} ${both.replaceAll('sha256 = ', 'compressed = "zstd"; sha256 = ')}`,
      /compressed says zstd, the file is not/,
    ],
  ]
  for (const [body, fault] of rows) {
    await packBundle(at('theirs.swu'), `software = {\n${body}\n}\n`, [x], signer)
    const { exitCode, stdout, stderr } = await operator([
      'bundle',
      'show',
      at('theirs.swu'),
      '--cert',
      signer.certificate,
    ])
    assert.equal(exitCode, fault ? 1 : 0, `${body}: ${stdout}`)
    assert.match(`${stdout}${stderr}`, fault ?? /\nin order$/)
  }
  const script = `${head} ${both} scripts: ( { type = "gptswap"; sha256 = "${x.sha256}" } );`
  await packBundle(at('theirs.swu'), `software = { ${script} }\n`, [x], signer)
  assert.equal((await shown('theirs.swu', '--allow', 'scripts')).exitCode, 0)
  await packBundle(at('theirs.swu'), `\ufeffsoftware = { ${head} ${both} }\n`, [x], signer)
  assert.match((await operator(['bundle', 'show', at('theirs.swu')])).stderr, /byte order mark/)
})

test('what the agent refuses in an archive is said where the bundle is made', async () => {
  await create('good.swu', ...usual(), '--image', image)
  const good = await readFile(at('good.swu'))
  await mkdir(at('parts'))
  await runProgram(['cpio', '--quiet', '-id', '--no-absolute-filenames', '-F', at('good.swu')], { cwd: at('parts') })
  await writeFile(at('parts/more'), 'more')
  const packed = async (...names: string[]) => {
    await runProgram(['cpio', '--quiet', '-o', '-H', 'crc', '-F', at('odd.swu')], {
      cwd: at('parts'),
      input: `${names.join('\n')}\n`,
    })
    return shown('odd.swu')
  }
  const extra = await packed('sw-description', 'sw-description.sig', 'rootfs.ext4', 'more')
  assert.match(extra.findings.join(), /pi-adu-agent refuses stable,a: the file "more" in the bundle is not named/)
  const unsigned = await packed('sw-description', 'rootfs.ext4')
  assert.match(unsigned.findings.join(), /sw-description\.sig is missing/)
  assert.deepEqual([extra.exitCode, unsigned.exitCode], [1, 1])
  await writeFile(at('odd.swu'), Buffer.concat([good, Buffer.alloc(65_536)]))
  const { stderr, exitCode } = await operator(['bundle', 'show', at('odd.swu')])
  assert.match(stderr, /zeros follow the end of the archive/)
  assert.equal(exitCode, 1)
})

test('encrypted images: real SWUpdate installs them with the key, and show says what it did not see', async () => {
  const key = `${'0123456789abcdef'.repeat(4)} ${'fe'.repeat(16)}\n`
  await writeFile(at('key'), key)
  const devices = ['--device-a', at('slot-a'), '--device-b', at('slot-b')]
  for (const [name, more] of [
    ['plain-enc.swu', []],
    ['zstd-enc.swu', ['--zstd', '3']],
  ] as const) {
    assert.equal(
      (await create(name, ...usual(), '--image', image, '--encrypt', at('key'), ...devices, ...more)).stderr,
      '',
    )
    for (const slot of ['a', 'b']) {
      await writeFile(at(`slot-${slot}`), Buffer.alloc(4 << 20))
      assert.match(await swupdate(name, slot, ['-K', at('key')]), /SWUPDATE successful/)
      assert.ok((await readFile(at(`slot-${slot}`))).equals(await readFile(image)), `${name} ${slot}`)
    }
    await writeFile(at('other'), key.replace('0', '1'))
    assert.doesNotMatch(await swupdate(name, 'a', ['-K', at('other')]), /SWUPDATE successful !/)
    const { images, findings, signature } = await shown(name, '--cert', signer.certificate)
    assert.deepEqual([findings, signature], [[], 'good'])
    assert.deepEqual(
      images.map((each: { encrypted?: boolean }) => each.encrypted),
      [true, true],
    )
    const { stdout } = await operator(['bundle', 'show', at(name)])
    assert.match(stdout, /stable\.a\.images .* ENCRYPTED\n/)
    assert.match(stdout, /\nin order, but for what is in 1 encrypted file: not checked$/)
    assert.ok(!(await readFile(at(name))).includes((await readFile(image)).subarray(1024, 1100)))
  }
  const again = await create('again.swu', ...usual(), '--image', image, '--encrypt', at('key'), ...devices)
  assert.equal(again.exitCode, 0)
  const [one, two] = [await shown('plain-enc.swu'), await shown('again.swu')]
  assert.deepEqual(one.files[2], two.files[2])
  for (const [content, line] of [
    ['12 34\n', /is not a key file/],
    [key.slice(0, 64), /is not a key file/],
  ] as const) {
    await writeFile(at('bad'), content)
    const { stderr, exitCode } = await create('never.swu', ...usual(), '--image', image, '--encrypt', at('bad'))
    assert.match(stderr, line)
    assert.ok(!stderr.includes(content.slice(0, 5)))
    assert.equal(exitCode, 64)
  }
})
