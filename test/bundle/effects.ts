import { ALLOWANCES, type Allowance } from '../../src/bundle/allowance.ts'

/** Where effects outside the slot would be seen. */
export interface World {
  /** Absolute path of a file that nobody has made. */
  readonly mark: string
  /** A device that is not a slot. */
  readonly other: string
  /** The device of the slot that is running. */
  readonly running: string
  /** The device of the other slot. */
  readonly device: string
}

export interface Case {
  readonly name: string
  /** The whole of sw-description. */
  readonly text: string
  /** Names of the files in the archive, in this order; the image alone unless given. */
  readonly archive?: readonly string[]
  /** Bytes behind the archive. */
  readonly behind?: 'zeros' | 'another archive'
  readonly unsigned?: true
  readonly cut?: true
  readonly allow?: readonly Allowance[]
  /** Of AgentError, with the right hash; undefined: it is installed. */
  readonly code?: string
  /** What SWUpdate does outside the slot when nobody stops it; held against the real one. */
  readonly danger?: 'mark' | 'other' | 'running' | 'whole'
}

/** An entry for the file `name` of the bundle, with its hash. */
export type Entry = (name: 'image' | 'small' | 'script', settings: string) => string

/** Every case. */
export function casesFor(entry: Entry, { mark, other, running, device }: World): readonly Case[] {
  const raw = (device: string, more = '') =>
    entry('image', `type = "raw"; device = "${device}"; installed-directly = true; ${more}`)
  const slot = raw('pi-adu/b')
  const images = `images: ( ${slot} );`
  const script = (type: string) => `scripts: ( ${entry('script', `type = "${type}";`)} );`
  const lua = `f = io.open(\\"${mark}\\", \\"w\\") f:close()`
  const file = `files: ( ${entry('small', `path = "${mark}"; installed-directly = true;`)} );`
  const variable = (name: string) => `bootenv: ( { name = "${name}"; value = "a"; } );`
  const both = ['image', 'small'] as const
  const withScript = ['script', 'image'] as const
  const of = (b: string, more = '') => `software = {
  version = "2.0.0"; hardware-compatibility: [ "1.0" ];
  ${more}
  stable = { b = {
    ${b}
  }; };
}
`
  const elsewhere = (device: string) =>
    of(`images: ( ${entry('small', `type = "raw"; device = "${device}"; installed-directly = true;`)},
      ${slot} );`)
  const smallFirst = ['small', 'image'] as const
  return [
    { name: 'one raw image for the slot', text: of(images) },
    { name: 'its device by its configured path', text: of(`images: ( ${raw(device)} );`) },
    ...(['preinstall', 'postinstall', 'shellscript'] as const).map(type => ({
      ...{ name: `a script, ${type}`, text: of(script(type) + images), archive: withScript },
      ...{ code: 'BUNDLE_SCRIPT', danger: 'mark' as const },
    })),
    { name: 'a script, lua', text: of(script('lua') + images), archive: withScript, code: 'BUNDLE_SCRIPT' },
    {
      ...{ name: 'a script of the board', archive: withScript, code: 'BUNDLE_SCRIPT', danger: 'mark' },
      text: of(images, `pi-workbench = { hardware-compatibility: [ "1.0" ]; ${script('preinstall')} };`),
    },
    {
      ...{ name: 'a script behind a link', archive: withScript, code: 'BUNDLE_SCRIPT', danger: 'mark' },
      text: of(
        `scripts: ( { ref = "#./common"; } ); common: ( ${entry('script', 'type = "preinstall";')} ); ${images}`,
      ),
    },
    {
      ...{ name: 'a script in another selection', archive: withScript, code: 'BUNDLE_SCRIPT' },
      text: of(images, `other = { b = { ${script('preinstall')} }; };`),
    },
    { name: 'an embedded script', text: of(images, `embedded-script = "${lua}";`), code: 'BUNDLE_LUA', danger: 'mark' },
    {
      ...{ name: 'a hook', code: 'BUNDLE_LUA', danger: 'mark' },
      text: of(
        `images: ( ${raw('pi-adu/b', 'hook = "h";')} );`,
        `embedded-script = "function h(image) ${lua} return true, image end";`,
      ),
    },
    {
      name: 'another device first',
      text: elsewhere(other),
      archive: smallFirst,
      code: 'BUNDLE_DEVICE',
      danger: 'other',
    },
    {
      ...{ name: 'the running slot first', text: elsewhere(running), archive: smallFirst },
      ...{ code: 'BUNDLE_DEVICE', danger: 'running' },
    },
    { name: 'the other inlet first', text: elsewhere('pi-adu/a'), archive: smallFirst, code: 'BUNDLE_DEVICE' },
    { name: 'another device only', text: of(`images: ( ${raw(other)} );`), code: 'BUNDLE_DEVICE', danger: 'other' },
    { name: 'an image twice', text: of(`images: ( ${slot}, ${slot} );`), code: 'BUNDLE_DEVICE' },
    { name: 'a bootloader variable', text: of(variable('evil') + images), code: 'BUNDLE_BOOT_VARIABLE' },
    { name: 'the boot state', text: of(variable('primary') + images), code: 'BUNDLE_BOOT_VARIABLE' },
    {
      name: 'the older uboot section',
      text: of(variable('evil').replace('bootenv', 'uboot') + images),
      code: 'BUNDLE_BOOT_VARIABLE',
    },
    { name: 'bootloader variables only', text: of(variable('evil')), archive: [], code: 'BUNDLE_NO_IMAGE' },
    {
      name: 'a file beside the image',
      text: of(file + images),
      archive: smallFirst,
      code: 'BUNDLE_FILES',
      danger: 'mark',
    },
    { name: 'a file only', text: of(file), archive: ['small'], code: 'BUNDLE_NO_IMAGE', danger: 'mark' },
    {
      name: 'a partition',
      text: of(
        `partitions: ( { type = "diskpart"; device = "${other}"; properties = { labeltype = "dos"; }; } ); ${images}`,
      ),
      code: 'BUNDLE_PARTITION',
    },
    { name: 'no hash', text: of(images.replace(/sha256 = "\w+";/, '')), code: 'BUNDLE_HASH' },
    {
      ...{ name: 'another handler', archive: smallFirst, code: 'BUNDLE_HANDLER', danger: 'mark' },
      text: of(
        `images: ( ${entry('small', `type = "rawfile"; path = "${mark}"; installed-directly = true;`)}, ${slot} );`,
      ),
    },
    { name: 'an offset', text: of(`images: ( ${raw('pi-adu/b', 'offset = "4096";')} );`), code: 'BUNDLE_ATTRIBUTE' },
    {
      name: 'a setting of an image that nobody knows',
      text: of(`images: ( ${raw('pi-adu/b', 'colour = "red";')} );`),
      code: 'BUNDLE_ATTRIBUTE',
    },
    { name: 'a setting that nobody knows', text: of(images, 'colour = "red";'), code: 'BUNDLE_ATTRIBUTE' },
    { name: 'an output file', text: of(images, `output = "${mark}";`), code: 'BUNDLE_ATTRIBUTE' },
    {
      name: 'an image for the temporary folder',
      text: of(images.replace('installed-directly = true;', '')),
      code: 'BUNDLE_STAGED',
      danger: 'whole',
    },
    { name: 'nothing for the selection', text: of(images).replace(' b = {', ' c = {'), code: 'BUNDLE_NO_IMAGE' },
    {
      name: 'a description of 1 MiB',
      text: `${of(images)}${'#'.repeat(1 << 20)}\n`,
      code: 'BUNDLE_DESCRIPTION',
      danger: 'whole',
    },
    {
      name: 'a description in JSON',
      text: JSON.stringify({ software: { version: '1', 'embedded-script': lua.replaceAll('\\', '') } }),
      code: 'BUNDLE_DESCRIPTION',
      danger: 'mark',
    },
    {
      name: 'a description that includes a file',
      text: `@include "${mark}"\n${of(images)}`,
      code: 'BUNDLE_DESCRIPTION',
    },
    { name: 'a file that nobody names', text: of(images), archive: both, code: 'BUNDLE_FILE', danger: 'whole' },
    {
      name: 'files in another order',
      text: of(images, `other = { b = { images: ( ${entry('small', '')} ); }; };`),
      archive: both,
      code: 'BUNDLE_FILE',
      danger: 'whole',
    },
    { name: 'the image twice in the archive', text: of(images), archive: ['image', 'image'], code: 'BUNDLE_FILE' },
    { name: 'without its image', text: of(images), archive: [], code: 'BUNDLE_FILE' },
    { name: 'not signed', text: of(images), unsigned: true, code: 'BUNDLE_UNSIGNED' },
    { name: 'cut short', text: of(images), cut: true, code: 'BUNDLE_FORMAT' },
    {
      name: '128 KiB of zeros behind it',
      text: of(images),
      behind: 'zeros',
      code: 'BUNDLE_BEHIND',
      danger: 'whole',
    },
    {
      name: 'another archive behind it',
      text: of(images),
      behind: 'another archive',
      code: 'BUNDLE_BEHIND',
      danger: 'whole',
    },
    ...allowed(),
  ]

  /** What an owner allowed by name. */
  function allowed(): Case[] {
    const withLua = `embedded-script = "${lua}";`
    return [
      {
        ...{ name: 'scripts allowed: a script', archive: withScript, allow: ['scripts'] },
        text: of(script('preinstall') + images),
      },
      {
        ...{ name: 'scripts allowed: one in Lua', archive: withScript, allow: ['scripts'], code: 'BUNDLE_LUA' },
        text: of(script('lua') + images),
      },
      { name: 'lua allowed: an embedded script', allow: ['lua'], text: of(images, withLua) },
      {
        name: 'scripts allowed: an embedded script',
        allow: ['scripts'],
        text: of(images, withLua),
        code: 'BUNDLE_LUA',
      },
      {
        name: 'files allowed: a file beside the image',
        allow: ['files'],
        archive: smallFirst,
        text: of(file + images),
      },
      {
        name: 'files allowed: a file only',
        allow: ['files'],
        archive: ['small'],
        text: of(file),
        code: 'BUNDLE_NO_IMAGE',
      },
      {
        name: 'devices allowed: another device first',
        allow: ['devices'],
        archive: smallFirst,
        text: elsewhere(other),
      },
      {
        ...{ name: 'devices allowed: another device only', allow: ['devices'], code: 'BUNDLE_NO_IMAGE' },
        text: of(`images: ( ${raw(other)} );`),
      },
      {
        ...{ name: 'bootenv allowed: the boot state', allow: ['bootenv'], code: 'BUNDLE_BOOT_VARIABLE' },
        text: of(variable('trial') + images),
      },
      {
        ...{ name: 'lua and files allowed: a hook that leaves the image out', archive: smallFirst },
        ...{ allow: ['lua', 'files'], code: 'BUNDLE_UNWRITTEN' },
        text: of(
          `${file} images: ( ${raw('pi-adu/b', 'hook = "h";')} );`,
          'embedded-script = "function h(image) return true, nil end";',
        ),
      },
      {
        ...{ name: 'attributes allowed: a setting that nobody knows', allow: ['attributes'] },
        text: of(images, 'colour = "red";'),
      },
      {
        ...{ name: 'staging allowed: an image for the temporary folder', allow: ['staging'] },
        text: of(images.replace('installed-directly = true;', '')),
      },
      {
        ...{ name: 'everything allowed: no hash', allow: ALLOWANCES, code: 'BUNDLE_HASH' },
        text: of(images.replace(/sha256 = "\w+";/, '')),
      },
    ]
  }
}
