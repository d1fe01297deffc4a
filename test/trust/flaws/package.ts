import type { Recipe } from '../../bench/authoring/recipe.ts'
import { type PackageDescription, packageContent, withdrawn } from '../../bench/authoring/root-key-package.ts'
import type { Flaw } from './flaw.ts'

type Content = Record<string, unknown>

/** A package that makes the device refuse a deployment whose own signature is right. */
const broken = (name: string, change: Partial<Recipe>, code: string): Flaw => ({
  name: `package ${name}`,
  change: () => change,
  code,
  authentic: true,
})
const content = (name: string, change: (content: Content) => object, code: string): Flaw =>
  broken(name, { packageContent: change }, code)
const without = (member: string, code: string): Flaw =>
  content(`without ${member}`, each => ({ ...each, [member]: undefined }), code)
const text = (name: string, change: (text: string) => string, code: string): Flaw =>
  broken(name, { package: change }, code)
const key = (name: string, change: object, code: string): Flaw =>
  content(name, each => ({ ...each, rootKeys: { ...(each.rootKeys as object), X: { ...KEY, ...change } } }), code)
const hash = (name: string, entry: unknown, code: string): Flaw =>
  content(name, each => ({ ...each, disabledSigningKeys: [entry] }), code)
const entry = (name: string, value: object, code: string): Flaw =>
  text(name, whole => whole.replace(/"signatures":\[\{.*?\}/, `"signatures":[${JSON.stringify(value)}`), code)

const KEY = { keyType: 'RSA', n: `_${'A'.repeat(341)}`, e: 65537 }

/** Signatures are by position: with the keys in another order, each is held against the wrong key. */
const reordered = (each: Content) => {
  const keys = Object.entries(each.rootKeys as object).reverse()
  return { ...each, rootKeys: Object.fromEntries(keys) }
}

export const PACKAGE_FLAWS: readonly Flaw[] = [
  text('empty', () => '', 'A0000001'),
  text('an error page', () => '<html>404</html>', 'A0000001'),
  text('cut short', whole => whole.slice(0, -10), 'A0000001'),
  text('of 300 kB', whole => whole + ' '.repeat(300_000), 'A0000001'),
  text('with protected twice', whole => whole.replace('{', '{"protected":{},'), 'A0000001'),
  text('nested too deep', whole => whole.replace('{', `{"x":${'['.repeat(40)}${']'.repeat(40)},`), 'A0000001'),
  text('without protected', () => '{"signatures":[{"alg":"RS256","sig":"AA"}]}', '8050000D'),
  text('without signatures', whole => whole.replace('"signatures"', '"signature"'), '8050000E'),
  text('with no signature', whole => whole.replace(/"signatures":.*/, '"signatures":[]}'), '80500012'),
  content('with isTest as text', each => ({ ...each, isTest: 'yes' }), 'A0000001'),
  without('version', '80500004'),
  content('with version 0', each => ({ ...each, version: 0 }), '80500004'),
  content('with version as text', each => ({ ...each, version: '1' }), '80500004'),
  without('published', '80500005'),
  without('disabledRootKeys', '80500006'),
  content('with an empty name in disabledRootKeys', each => ({ ...each, disabledRootKeys: [''] }), '80500017'),
  without('disabledSigningKeys', '8050000A'),
  hash('with a disabled signing key that is no object', 'x', '8050001B'),
  hash('with a disabled signing key without alg', { hash: 'AAAA' }, '80500007'),
  hash('with a disabled signing key by MD5', { alg: 'MD5', hash: 'AAAA' }, '80500014'),
  hash('with a disabled signing key without hash', { alg: 'SHA256' }, '80500009'),
  hash('with a hash that is not base64url', { alg: 'SHA256', hash: '§' }, '80500016'),
  without('rootKeys', '8050000C'),
  content('with empty rootKeys', each => ({ ...each, rootKeys: {} }), '80500011'),
  content('with a root key without a name', each => ({ ...each, rootKeys: { '': KEY } }), '80500017'),
  key('with a root key without keyType', { keyType: undefined }, '8050000B'),
  key('with a root key of type EC', { keyType: 'EC' }, '80500018'),
  key('with a root key without n', { n: undefined }, '80500013'),
  key('with a root key with e as text', { e: 'AQAB' }, '8050001C'),
  key('with a root key of 24 bits', { n: 'AQAB' }, '80500019'),
  entry('with a signature that is a list', [], '8050001A'),
  entry('with a signature without alg', { sig: 'AAAA' }, '80500008'),
  entry('with a signature by HS256', { alg: 'HS256', sig: 'AAAA' }, '80500015'),
  entry('with a signature without sig', { alg: 'RS256' }, '80500009'),
  entry('with a sig that is not base64url', { alg: 'RS256', sig: '§' }, '80500016'),
  entry('with a wrong signature', { alg: 'RS256', sig: 'A'.repeat(342) }, '80600004'),
  {
    name: 'package signed by one of two root keys',
    authentic: true,
    code: '80600003',
    change: keys => ({ packageSigners: [keys.roots[0]] }),
  },
  {
    name: 'package with its signatures swapped',
    authentic: true,
    code: '80600004',
    change: keys => ({ packageSigners: [keys.roots[1], keys.roots[0]] }),
  },
  content('with its keys in another order', reordered, '80600004'),
  {
    name: 'package of a stranger',
    authentic: true,
    code: '80600003',
    change: keys => ({
      packageContent: () => strangers(keys.stranger, { isTest: false }),
      packageSigners: [keys.stranger],
    }),
  },
  text('changed after it was signed', whole => whole.replace('"version":1', '"version":2'), '80600004'),
  content('for tests only', each => ({ ...each, isTest: true }), 'A0000007'),
  {
    name: 'signing key withdrawn, SHA-256 of PKCS#1',
    code: 'A0000005',
    change: keys => revoking([withdrawn(keys.signing.privateKey)]),
  },
  {
    name: 'signing key withdrawn, SHA-256 of SubjectPublicKeyInfo',
    code: 'A0000005',
    change: keys => revoking([withdrawn(keys.signing.privateKey, 'SHA256', 'spki')]),
  },
  {
    name: 'signing key withdrawn, SHA-384',
    code: 'A0000005',
    change: keys => revoking([withdrawn(keys.signing.privateKey, 'SHA384')]),
  },
  {
    name: 'signing key withdrawn, SHA-512, second of two',
    code: 'A0000005',
    change: keys =>
      revoking([withdrawn(keys.stranger.privateKey), withdrawn(keys.signing.privateKey, 'SHA512', 'spki')]),
  },
]

const strangers = (stranger: Parameters<typeof packageContent>[0][number], description: PackageDescription) =>
  packageContent([stranger], description)

function revoking(disabledSigningKeys: readonly object[]): Partial<Recipe> {
  return { packageContent: each => ({ ...each, disabledSigningKeys }) }
}
