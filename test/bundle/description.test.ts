import assert from 'node:assert/strict'
import { test } from 'node:test'
import { choicesOf } from '../../src/bundle/choices.ts'
import { MAX_DESCRIPTION_BYTES, parseLibconfig } from '../../src/bundle/libconfig.ts'
import { fits, objectionsTo } from '../../src/bundle/objections.ts'
import { DescriptionError, type Group, type Setting } from '../../src/bundle/setting.ts'
import { type Choice, nameOf, readDescription, softwareFor } from '../../src/bundle/sw-description.ts'
import { writeSwDescription } from '../../src/bundle/write-description.ts'

const SHA = 'ab'.repeat(32)
const image = (more = '', file = 'x') => `{ filename = "${file}"; device = "pi-adu/b"; sha256 = "${SHA}"; ${more} }`

const parse = (text: string | Buffer) => parseLibconfig(Buffer.from(text as string))
const plain = (setting: Setting): unknown => {
  if (setting.is === 'group')
    return Object.fromEntries([...setting.settings].map(([name, each]) => [name, plain(each)]))
  return setting.is === 'list' || setting.is === 'array' ? setting.items.map(plain) : setting.value
}
const value = (text: string): unknown => (plain(parse(`x = ${text};`)) as { x: unknown }).x
const software = (body: string, choice: Choice = { set: 'stable', mode: 'a' }) =>
  softwareFor(readDescription(Buffer.from(`software = {\n${body}\n}\n`)), choice)

test('every value of libconfig, as SWUpdate reads it', () => {
  const rows: readonly (readonly [string, unknown])[] = [
    ['"a"', 'a'],
    [String.raw`"\"a\\b\n\t\r\f\x41\xc3\xa4"`, '"a\\b\n\t\r\fAä'],
    ['"ä" "b"\n /* and */ "c"', 'äbc'],
    ['"two\nlines"', 'two\nlines'],
    ['1', 1],
    ['-7', -7],
    ['0x1F', 31],
    ['5000000000L', 5_000_000_000],
    ['0x10LL', 16],
    ['1.5', 1.5],
    ['-1e3', -1000],
    ['.5E-1', 0.05],
    ['TRUE', true],
    ['False', false],
    ['[ 1, 2 ]', [1, 2]],
    ['[]', []],
    ['( 1, "a", { y: 2, z = 3 }, ( ), [ true ] )', [1, 'a', { y: 2, z: 3 }, [], [true]]],
    ['{}', {}],
  ]
  for (const [text, wanted] of rows) assert.deepEqual(value(text), wanted, text)
  assert.deepEqual(plain(parse('# a\na = 1 // b\nb: 2, /* c\n */ c-d_* = { e = 1 }')), {
    a: 1,
    b: 2,
    'c-d_*': { e: 1 },
  })
  assert.deepEqual(plain(parse('')), {})
})

test('what libconfig refuses is refused, with its line', () => {
  const rows: readonly (readonly [string | Buffer, number, RegExp])[] = [
    ['a = 1;\na = 2;', 2, /has a twice, first in line 1/],
    ['a = {\n b = 1;\n b = 2;\n}', 3, /has b twice, first in line 2/],
    [Buffer.from([0xef, 0xbb, 0xbf, 0x61]), 1, /byte order mark/],
    [Buffer.from('\ufeffa = 1', 'utf16le'), 1, /UTF-16/],
    ['a = 1;\nb = [ 1, "x" ];', 2, /mixed types/],
    ['a = [ 1, 1L ];', 1, /mixed types/],
    ['a = [ 1,\n 2, ];', 2, /"," before "]"/],
    ['a = ( 1, );', 1, /"," before "\)"/],
    ['a = 1;;', 1, /has ; where a name should be/],
    ['a = ', 1, /ends where a value should be/],
    ['a = {\n b = 1;\n', 2, /ends where a name or "}" should be/],
    ['a 1', 1, /has 1 where "=" after a should be/],
    ['true = 1', 1, /has true where a name/],
    ['a = yes', 1, /has yes where a value/],
    ['a = 1 2', 1, /has 2 where a name/],
    ['a = [ { } ]', 1, /has \{ where a text/],
    ['\n@include "/etc/passwd"', 2, /@include is not allowed/],
    ['a = "x', 1, /without its closing quote/],
    ['a = 1; /* b', 1, /without its end/],
    ['a = 1; # no line end', 1, /wants a line end/],
    ['a = 3000000000', 1, /too large: a number of more than 31 bits ends with L/],
    ['a = 99999999999999999999L', 1, /too large/],
    [String.raw`a = "\q"`, 1, /escape/],
    [String.raw`a = "\x00"`, 1, /escape/],
    ['a = "\0"', 1, /byte of zero/],
    [Buffer.from([...Buffer.from('\na = "'), 0xff, 0x22]), 2, /not UTF-8/],
    ['a = ~', 1, /"~" where it means nothing/],
    ['ä = 1', 1, /byte 0xc3/],
    ['{ "software": {} }', 1, /is JSON/],
    [`a = ${'('.repeat(40)}${')'.repeat(40)}`, 1, /nested levels/],
    [`a = ${'{ b = '.repeat(9999)}`, 1, /nested levels/],
    [`# ${'x'.repeat(MAX_DESCRIPTION_BYTES)}\n`, 1, /bytes, more than/],
  ]
  for (const [text, line, wanted] of rows) {
    const shown = text.toString().slice(0, 40)
    assert.throws(
      () => parse(text as string),
      error => {
        assert.ok(error instanceof DescriptionError, `${shown}: ${error}`)
        assert.match(error.message, wanted)
        assert.equal(error.line, line, shown)
        assert.ok(error.message.endsWith(` (line ${line})`))
        return true
      },
    )
  }
})

test('settings are looked up from the most special place to the most general', () => {
  const body = `
    version = "1"; description = "d";
    hardware-compatibility = [ "general" ];
    scripts: ( { filename = "s"; type = "shellscript"; sha256 = "${SHA}"; } );
    pi = {
      hardware-compatibility = [ "1.0", "#RE:^2\\\\.[0-9]$" ];
      stable = { a = { images: ( ${image()} ); } }
    }
    stable = { a = { images: ( ${image('', 'y')} ); files: ( ) } }`
  const without = software(body)
  assert.deepEqual(
    [without.images.map(each => each.fileName), without.hardware.map(each => each.value)],
    [['y'], ['general']],
  )
  const on = software(body, { board: 'pi', set: 'stable', mode: 'a' })
  assert.deepEqual([on.images.map(each => each.fileName), on.hardware.length, on.scripts.length], [['x'], 2, 1])
  assert.equal(on.images[0]?.line, 8)
  assert.deepEqual([on.version.value, on.description?.value], ['1', 'd'])
  assert.ok(fits(on, '1.0') && !fits(on, '1.1'))
  // A backslash is beyond what POSIX and JavaScript surely agree on.
  assert.ok(!fits(on, '2.1'))
  const { set, ...nothing } = { set: 'stable' }
  assert.equal(set, 'stable')
  assert.deepEqual(software(body, nothing).images, [])
})

test('links lead where SWUpdate goes', () => {
  const body = `
    version = "1"; hardware-compatibility = [ "1.0" ];
    common = ( ${image('', 'c')} );
    whole = { images: ( ${image('', 'w')} ); };
    stable = {
      shared = ( ${image('', 's')}, { ref = "#../common" } );
      a = { images: ( ${image()}, { ref = "#../shared" } ) };
      b = { ref = "#../whole" };
      c = { images: ( { ref = "#software/common" } ) };
      d = { images: ( { ref = "#./images" } ) };
      e = { images: ( { ref = "#./nowhere" } ) };
      f = { images: ( { ref = "common" } ) };
      g = { images: ( { ref = "#../common"; filename = "x" } ) };
      h = { images = { ref = "#software/whole/images" } };
      i = { ref = "#./i" };
    }`
  const files = (mode: string) => software(body, { set: 'stable', mode }).images.map(each => each.fileName)
  assert.deepEqual(['a', 'c'].map(files), [['x', 's', 'c'], ['c']])
  // Real SWUpdate of Debian 12 takes these, that of Debian 13 finds nothing to install, or worse.
  for (const [mode, line] of [
    ['b', 9],
    ['h', 15],
    ['i', 16],
  ] as const) {
    assert.throws(() => files(mode), new RegExp(`links the group .*Debian 13 cannot follow.*line ${line}`), mode)
  }
  assert.throws(() => files('d'), /more than 9 links in a row \(line 11\)/)
  assert.throws(() => files('e'), /leads nowhere \(line 12\)/)
  assert.throws(() => files('f'), /not one like "#\.\/name" \(line 13\)/)
  assert.throws(() => files('g'), /a ref beside other settings/)
})

test('a few links cannot keep the reader busy', () => {
  const level = (index: number) =>
    `l${index} = ( ${Array(50)
      .fill(`{ ref = "#software/l${index + 1}" }`)
      .join(', ')} );`
  const levels = Array.from({ length: 7 }, (_, index) => level(index)).join('\n')
  const body = `version = "1"; hardware-compatibility = [ "1" ]; ${levels} l7 = ( ); images: ( { ref = "#software/l0" } );`
  const begin = performance.now()
  assert.throws(() => software(body), /more than 256 entries in images/)
  assert.ok(performance.now() - begin < 2000)
})

test('an item with all that is said of it', () => {
  const { images, embeddedScript, options, unknown, bootEnv } = software(`
    version = "1"; hardware-compatibility = [ "1.0" ]; hardware-compatability = [ "2.0" ];
    embedded-script = "function f() end"; output = "/tmp/x";
    stable = { a = {
      bootenv: ( { name = "n"; value = "v" } );
      images: ( ${image(`compressed = "zstd"; installed-directly = true; encrypted = true; ivt = "${'0f'.repeat(16)}"; hook = "f"; sha265 = "x"; offset = "1M"; properties = { p = [ "1" ] }`)}, { filename = "v"; volume = "v"; compressed = true; sha256 = "${SHA}" } )
    } }`)
  const { settings, ...item } = images[0]!
  assert.deepEqual(item, {
    ...{
      section: 'images',
      line: 7,
      fileName: 'x',
      type: 'raw',
      device: 'pi-adu/b',
      path: '',
      volume: '',
      sha256: SHA,
    },
    ...{ compressed: 'zstd', encrypted: true, ivt: '0f'.repeat(16), installedDirectly: true, hook: 'f' },
    unknown: ['sha265'],
  })
  assert.equal(settings.get('device')?.line, 7)
  assert.deepEqual([images[1]?.type, images[1]?.compressed, images[1]?.encrypted], ['ubivol', 'zlib', false])
  assert.equal(embeddedScript?.line, 4)
  const names = (found: readonly { name: string }[]) => found.map(({ name }) => name)
  assert.deepEqual([names(options), names(unknown), names(bootEnv)], [['output'], ['hardware-compatability'], ['n']])
})

test('a setting of another type than SWUpdate wants is refused, never passed over', () => {
  const rows: readonly (readonly [string, RegExp])[] = [
    ['installed-directly = 1', /installed-directly that is not true or false/],
    ['encrypted = "true"', /encrypted that is not true or false/],
    ['compressed = "xz"', /compressed that is not/],
    ['compressed = 1', /compressed that is not/],
    ['ivt = "12"', /ivt that is not 32/],
    ['type = 5', /type that is not a text/],
    [`path = "${'x'.repeat(256)}"`, /path of more than 255 bytes/],
    ['offset = -1', /offset/],
    ['offset = "1MB"', /offset/],
    ['size = "1"', /size/],
    ['properties = ( )', /properties/],
    ['ref = 1', /ref that is not a text/],
  ]
  const head = 'version = "1"; hardware-compatibility = [ "1.0" ];\n'
  for (const [more, wanted] of rows) {
    assert.throws(() => software(`${head}stable = { a = { images: (\n${image(more)} ) } }`), wanted, more)
  }
  const bodies: readonly (readonly [string, RegExp])[] = [
    ['hardware-compatibility = [ "1.0" ];', /has no version/],
    ['version = 1.0; hardware-compatibility = [ "1.0" ];', /version that is not a text/],
    ['version = "1";', /no hardware-compatibility for stable,a/],
    ['version = "1"; hardware-compatibility = "1.0";', /not an array of texts/],
    ['version = "1"; hardware-compatibility = [ ];', /not an array of texts/],
    [`${head} images: { filename = "x" }`, /images that are not a list/],
    [`${head} images: ( "x" )`, /not a group/],
    [`${head} files: ( { path = "x" } )`, /without a filename/],
    [`${head} bootenv: ( { filename = "x" } )`, /without a name/],
    [`${head} images: ( { filename = "x"; sha256 = "12" } )`, /sha256 that is not 64/],
  ]
  for (const [body, wanted] of bodies) assert.throws(() => software(body), wanted, body)
  assert.throws(() => readDescription(Buffer.from('a = 1;')), /no group "software"/)
})

test('every selection is found, and what keeps a device from installing it', () => {
  const text = `software = {
    version = "1";
    pi = { hardware-compatibility = [ "1.0" ]; };
    stable = { a = { images: ( ${image()} ) }; b = { images: ( ${image('installed-directly = true')}, ${image()} ) }; };
    pi5 = { stable = { a = { hardware-compatibility = [ "1.0" ]; images: ( { filename = "z"; type = "remote" } ) } } }
  }
  `
  const description = readDescription(Buffer.from(text))
  const objections = choicesOf(description).map(choice => [
    nameOf(choice),
    objectionsTo(softwareFor(description, choice), new Set(['x'])).map(({ message }) => message),
  ])
  assert.deepEqual(objections, [
    ['pi: stable,a', []],
    ['pi: stable,b', ['uses x twice, also in line 4']],
    [
      'pi5: stable,a',
      [
        'has the type "remote" in images, which is not a handler for them',
        'names z, which is not in the bundle',
        'has no sha256 for z',
      ],
    ],
  ])
})

test('what is written is read back, whatever is in it', () => {
  const entry = { fileName: 'a "b" \\ c', sha256: SHA, device: '/dev/ä', compressed: 'zstd' as const }
  const source = {
    version: '1 "x"',
    description: 'words',
    hardware: ['1.0', '#RE:^1'],
    slots: { a: [entry], b: [entry] },
  }
  const description = readDescription(Buffer.from(writeSwDescription({ ...source, bootEnv: { n: 'v' } })))
  assert.deepEqual(choicesOf(description).map(nameOf), ['stable,a', 'stable,b'])
  const { version, hardware, images, bootEnv, unknown } = softwareFor(description, { set: 'stable', mode: 'b' })
  assert.deepEqual([version.value, hardware.map(each => each.value)], ['1 "x"', ['1.0', '#RE:^1']])
  assert.deepEqual([images[0]?.fileName, images[0]?.device, images[0]?.compressed], [entry.fileName, '/dev/ä', 'zstd'])
  assert.deepEqual([bootEnv.length, unknown], [1, []])
  assert.throws(() => writeSwDescription({ ...source, version: 'a\nb' }), /control character/)
  assert.throws(() => writeSwDescription({ ...source, version: 'x'.repeat(256) }), /longer than the 255 bytes/)
})

const isGroup = (setting: Setting): setting is Group => setting.is === 'group'

test('lines are those of the names', () => {
  const root = parse('a = {\n\n  b =\n 1; /* x\n */ c = (\n 1,\n { d = 2 } );\n}')
  const a = root.settings.get('a')!
  assert.ok(isGroup(a))
  const c = a.settings.get('c')!
  assert.deepEqual([a.line, a.settings.get('b')?.line, c.line], [1, 3, 5])
  assert.ok(c.is === 'list')
  assert.deepEqual(
    c.items.map(each => each.line),
    [6, 7],
  )
})
