import { MANIFEST } from '../../bench/authoring/recipe.ts'
import type { Flaw } from './flaw.ts'

type Fields = Record<string, unknown>
const ID = 'f06b052ef8f38d681'
const FILE = MANIFEST.files[ID]
const STEP = MANIFEST.instructions.steps[0]

/** A manifest that is signed as it is: what is wrong with it is the author's, or the service's, doing. */
const signed = (name: string, manifest: object | string, code: string): Flaw => ({
  name,
  change: () => ({ manifest }),
  code,
  authentic: true,
})

const manifest = (name: string, change: Fields, code = '80300009') => signed(name, { ...MANIFEST, ...change }, code)
const step = (name: string, change: Fields, code: string) =>
  manifest(name, { instructions: { steps: [{ ...STEP, ...change }] } }, code)
const file = (name: string, change: Fields, code = '80300009') =>
  manifest(name, { files: { [ID]: { ...FILE, ...change } } }, code)
const properties = (name: string, change: Fields, code: string) =>
  step(name, { handlerProperties: { ...STEP.handlerProperties, ...change } }, code)
const fileName = (name: string, text: string) => file(`file name ${name}`, { fileName: text }, '32100002')

const withMember = (member: string): string => JSON.stringify(MANIFEST).replace(/^\{/, `{${member},`)

export const MANIFEST_FLAWS: readonly Flaw[] = [
  signed('manifest not JSON', 'manifest', '80300009'),
  signed('manifest a list', [], '80300009'),
  signed('manifest null', 'null', '80300009'),
  signed('manifest with a byte order mark', `\ufeff${JSON.stringify(MANIFEST)}`, '80300009'),
  signed('manifest with a member twice', withMember('"manifestVersion":"5"'), '80300009'),
  signed('manifest with a member twice, once escaped', withMember('"\\u006danifestVersion":"4"'), '80300009'),
  signed('manifest with __proto__', withMember('"__proto__":{"polluted":true}'), '80300009'),
  signed('manifest nested too deep', withMember(`"x":${'['.repeat(40)}${']'.repeat(40)}`), '80300009'),
  signed('manifest with 1e999', withMember('"x":1e999'), '80300009'),
  signed('manifest of 100 MB', withMember(`"x":"${'A'.repeat(1e8)}"`), '80300009'),
  manifest('version missing', { manifestVersion: undefined }, '8030000A'),
  manifest('version a number', { manifestVersion: 5 }, '8030000A'),
  manifest('version empty', { manifestVersion: '' }, '8030000A'),
  manifest('version 0', { manifestVersion: '0' }, '8030000A'),
  manifest('version 3', { manifestVersion: '3' }, '8030000A'),
  manifest('version 6', { manifestVersion: '6' }, '8030000A'),
  manifest('version 50', { manifestVersion: '50' }, '8030000A'),
  manifest('version 5 and something', { manifestVersion: '5; drop' }, '8030000A'),
  manifest('no updateId', { updateId: undefined }),
  manifest('updateId with a path for a provider', { updateId: { ...MANIFEST.updateId, provider: '../x' } }),
  manifest('updateId with an empty name', { updateId: { ...MANIFEST.updateId, name: '' } }),
  manifest('updateId of one number', { updateId: { ...MANIFEST.updateId, version: '1' } }),
  manifest('updateId with a huge number', { updateId: { ...MANIFEST.updateId, version: '1.99999999999' } }),
  manifest('updateId of version 1.0-beta', { updateId: { ...MANIFEST.updateId, version: '1.0-beta' } }),
  manifest('compatibility with a number', { compatibility: [{ manufacturer: 1 }] }),
  manifest(
    'compatibility of another device',
    { compatibility: [{ manufacturer: 'contoso', model: 'oven' }] },
    '32100013',
  ),
  manifest('no instructions', { instructions: undefined }),
  manifest('no steps', { instructions: { steps: [] } }),
  manifest('eleven steps', { instructions: { steps: Array.from({ length: 11 }, () => STEP) } }),
  manifest(
    'two steps, the last without criteria',
    { instructions: { steps: [STEP, { ...STEP, handlerProperties: { swuFileName: 'toaster.swu' } }] } },
    '30100206',
  ),
  manifest(
    'two steps, the last with a handler that is not installed',
    { instructions: { steps: [STEP, { ...STEP, handler: 'contoso/x:1' }] } },
    '30000003',
  ),
  step('reference step without its manifest', { type: 'reference' }, '30400001'),
  step(
    'reference step to a file that is not listed',
    { type: 'reference', detachedManifestFileId: 'constructor' },
    '30400001',
  ),
  step('step without handler', { handler: undefined }, '8040000C'),
  step('step with a handler that is not installed', { handler: 'microsoft/apt:1' }, '30000003'),
  step('step with a script alone', { handler: 'microsoft/script:1' }, '3210000E'),
  step('step with a handler in capitals', { handler: 'Microsoft/SWUpdate:2' }, '30000003'),
  step('step without handlerProperties', { handlerProperties: undefined }, '8040000D'),
  step('step with a file that is not listed', { files: ['f1'] }, '80300009'),
  step('step with a file called constructor', { files: ['constructor'] }, '80300009'),
  properties('no swuFileName', { swuFileName: undefined }, '30100008'),
  properties('swuFileName of another file', { swuFileName: 'other.swu' }, '30100108'),
  properties('swuFileName a path', { swuFileName: '../toaster.swu' }, '30100108'),
  properties('swuFileName a number', { swuFileName: 1 }, '80300009'),
  properties('a script', { scriptFileName: 'install.sh' }, '3210000E'),
  properties('no installedCriteria', { installedCriteria: undefined }, '30100206'),
  properties(
    'installedCriteria in two spellings',
    { installedCriteria: undefined, InstalledCriteria: '1', INSTALLEDCRITERIA: '2' },
    '30100206',
  ),
  manifest('no files', { files: undefined }),
  manifest('files a list', { files: [FILE] }),
  file('file without a name', { fileName: undefined }),
  file('file with two names', { filename: 'other.swu' }),
  fileName('empty', ''),
  fileName('..', '..'),
  fileName('../../etc/passwd', '../../etc/passwd'),
  fileName('/etc/passwd', '/etc/passwd'),
  fileName('with a backslash', '..\\toaster.swu'),
  fileName('with NUL', 'toaster.swu\0.txt'),
  fileName('with a newline', 'toaster\n.swu'),
  fileName('that is an option', '-rf'),
  fileName('of 300 bytes', 'a'.repeat(300)),
  file('related file with a path for a name', { relatedFiles: { r: { fileName: '../a.diff' } } }, '32100002'),
  file('file of size 0', { sizeInBytes: 0 }),
  file('file of negative size', { sizeInBytes: -1 }),
  file('file of half a byte', { sizeInBytes: 0.5 }),
  file('file of 1e300 bytes', { sizeInBytes: 1e300 }),
  file('file of 3 GB', { sizeInBytes: 3_000_000_000 }),
  file('file with its size as text', { sizeInBytes: '1000' }),
  file('file without hashes', { hashes: {} }, '4000000B'),
  file('file with SHA-1 only', { hashes: { sha1: 'qqqq' } }, '40000008'),
  file('file with a short hash', { hashes: { sha256: 'AAAA' } }),
  file('file with two SHA-256', { hashes: { ...FILE.hashes, SHA256: FILE.hashes.sha256 } }),
  manifest('mini manifest without its file', { detachedManifestFileId: 'f1' }, '8030000B'),
  manifest(
    'mini manifest with a huge file',
    { detachedManifestFileId: ID, files: { [ID]: { ...FILE, sizeInBytes: 2_000_000_000 } } },
    '8030000C',
  ),
]
