import { createHmac, createPublicKey } from 'node:crypto'
import { publicNumbers } from '../../bench/authoring/keys.ts'
import { type Keys, MANIFEST } from '../../bench/authoring/recipe.ts'
import { type Flaw, flipped } from './flaw.ts'

const b64 = (value: string): string => Buffer.from(value).toString('base64url')
const sha256 = 'not the hash'

const jwkOf = ({ signing }: Keys) => ({
  kty: 'RSA',
  ...publicNumbers(signing.privateKey),
  alg: 'RS256',
  kid: signing.kid,
})

/** A signature that everybody can make: HMAC with the public key's text as the secret. */
function hmac(keys: Keys, jws: string): string {
  const [, payload] = jws.split('.')
  const [first] = jws.split('.')
  const header = JSON.parse(Buffer.from(first ?? '', 'base64url').toString())
  const signed = `${b64(JSON.stringify({ ...header, alg: 'HS256' }))}.${payload}`
  const secret = createPublicKey(keys.signing.privateKey).export({ type: 'spki', format: 'pem' })
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`

export const SIGNATURE_FLAWS: readonly Flaw[] = [
  { name: 'signature missing', change: () => ({ signature: () => undefined }), code: '80300001' },
  { name: 'signature null', change: () => ({ signature: () => null }), code: '80300001' },
  { name: 'signature empty', change: () => ({ signature: () => '' }), code: '80300001' },
  { name: 'signature a number', change: () => ({ signature: () => 7 }), code: '80300001' },
  { name: 'signature in a list', change: () => ({ signature: jws => [jws] }), code: '80300001' },
  { name: 'signature of 100 MB', change: () => ({ signature: jws => jws + 'A'.repeat(1e8) }), code: 'A0200002' },
  { name: 'two parts', change: () => ({ signature: jws => jws.split('.').slice(0, 2).join('.') }), code: 'A0200002' },
  { name: 'four parts', change: () => ({ signature: jws => `${jws}.AAAA` }), code: 'A0200002' },
  { name: 'header part empty', change: () => ({ signature: jws => jws.replace(/^[^.]+/, '') }), code: 'A0200002' },
  {
    name: 'payload part empty',
    change: () => ({ signature: jws => jws.replace(/\.[^.]+\./, '..') }),
    code: 'A0200002',
  },
  { name: 'signature part empty', change: () => ({ signature: jws => jws.replace(/[^.]+$/, '') }), code: 'A0200002' },
  { name: 'header not base64url', change: () => ({ signature: jws => jws.replace(/^./, '+') }), code: 'A0200008' },
  { name: 'header padded', change: () => ({ signature: jws => jws.replace('.', '=.') }), code: 'A0200008' },
  { name: 'header not JSON', change: () => ({ header: 'alg=RS256' }), code: 'A0200002' },
  { name: 'header not UTF-8', change: () => ({ signature: jws => jws.replace(/^[^.]+/, '_____w') }), code: 'A0200002' },
  {
    name: 'header with alg twice',
    change: () => ({ header: '{"alg":"RS256","alg":"none","sjwk":"SJWK"}' }),
    code: 'A0200002',
  },
  {
    name: 'header with sjwk twice',
    change: () => ({ header: '{"alg":"RS256","sjwk":"SJWK","sjwk":"SJWK"}' }),
    code: 'A0200002',
  },
  {
    name: 'header nested too deep',
    change: () => ({ header: `{"alg":"RS256","sjwk":"SJWK","x":${nested(40)}}` }),
    code: 'A0200002',
  },
  {
    name: 'header with __proto__',
    change: () => ({ header: '{"__proto__":{"alg":"RS256"},"sjwk":"SJWK"}' }),
    code: 'A0200002',
  },
  { name: 'header with crit', change: () => ({ header: { alg: 'RS256', crit: ['exp'] } }), code: 'A0200002' },
  { name: 'header without sjwk', change: () => ({ header: { alg: 'RS256', sjwk: undefined } }), code: 'A0200002' },
  { name: 'header with sjwk of a number', change: () => ({ header: { alg: 'RS256', sjwk: 1 } }), code: 'A0200002' },
  { name: 'header without alg', change: () => ({ header: { alg: undefined } }), code: 'A0200002' },
  { name: 'alg none', change: () => ({ header: { alg: 'none' } }), code: 'A0200004' },
  {
    name: 'alg none, unsigned',
    change: () => ({ header: { alg: 'none' }, signature: jws => jws.replace(/[^.]+$/, '') }),
    code: 'A0200002',
  },
  {
    name: 'alg HS256 with the public key as secret',
    change: keys => ({ signature: jws => hmac(keys, jws) }),
    code: 'A0200004',
  },
  { name: 'alg PS256', change: () => ({ header: { alg: 'PS256' } }), code: 'A0200004' },
  { name: 'alg ES256', change: () => ({ header: { alg: 'ES256' } }), code: 'A0200004' },
  { name: 'alg in lower case', change: () => ({ header: { alg: 'rs256' } }), code: 'A0200004' },
  { name: 'alg constructor', change: () => ({ header: { alg: 'constructor' } }), code: 'A0200004' },
  {
    name: 'alg RS512 over an RS256 signature',
    change: () => ({ header: '{"alg":"RS512","sjwk":"SJWK"}' }),
    code: 'A0200004',
  },
  { name: 'one character of the signature', change: () => ({ signature: jws => flipped(jws) }), code: 'A0200004' },
  {
    name: 'signature in the other alphabet',
    change: () => ({
      signature: jws => jws.replace(/[^.]+$/, part => Buffer.from(part, 'base64url').toString('base64')),
    }),
    code: 'A0200004',
  },
  {
    name: 'payload of another manifest',
    change: () => ({ payload: () => ({ sha256: Buffer.alloc(32).toString('base64') }) }),
    code: '80300001',
  },
  {
    name: 'payload exchanged, signature kept',
    change: () => ({ signature: jws => flipped(jws, 1) }),
    code: 'A0200004',
  },
  { name: 'payload not JSON', change: () => ({ payload: () => 'sha256' }), code: '80300001' },
  { name: 'payload without sha256', change: () => ({ payload: () => ({}) }), code: '80300001' },
  {
    name: 'payload with sha256 twice',
    change: () => ({ payload: () => '{"sha256":"","sha256":""}' }),
    code: '80300001',
  },
  { name: 'payload with a hash that is none', change: () => ({ payload: () => ({ sha256 }) }), code: '80300001' },
  {
    name: 'hash of re-serialized JSON',
    change: () => ({ service: service => ({ ...service, updateManifest: JSON.stringify(MANIFEST, null, 1) }) }),
    code: '80300001',
  },
  {
    name: 'signing key of a stranger in the outer signature',
    change: keys => ({ jwk: jwkOf(keys), signingKey: keys.stranger }),
    code: 'A0200004',
  },
  {
    name: 'signing key signed by itself',
    change: keys => ({ rootKey: { ...keys.signing, kid: keys.roots[0].kid } }),
    code: 'A0200004',
  },
  {
    name: 'signing key signed by the other root key',
    change: keys => ({ rootKey: { ...keys.roots[1], kid: keys.roots[0].kid } }),
    code: 'A0200004',
  },
  { name: 'root key unknown', change: keys => ({ rootKey: keys.stranger }), code: 'A0200006' },
  {
    name: 'root key withdrawn',
    change: keys => ({ packageContent: content => ({ ...content, disabledRootKeys: [keys.roots[0].kid] }) }),
    code: 'A0200005',
  },
  {
    name: 'sjwk of two parts',
    change: () => ({ sjwk: jws => jws.split('.').slice(0, 2).join('.') }),
    code: 'A0200002',
  },
  { name: 'sjwk header not base64url', change: () => ({ sjwk: jws => jws.replace(/^./, '*') }), code: 'A0200000' },
  { name: 'sjwk header not JSON', change: () => ({ sjwkHeader: 'kid' }), code: 'A0200000' },
  {
    name: 'sjwk header with kid twice',
    change: keys => ({ sjwkHeader: `{"alg":"RS256","kid":"X","kid":"${keys.roots[0].kid}"}` }),
    code: 'A0200000',
  },
  { name: 'sjwk header without kid', change: () => ({ sjwkHeader: { alg: 'RS256' } }), code: 'A0200000' },
  {
    name: 'sjwk header with an empty kid',
    change: () => ({ sjwkHeader: { alg: 'RS256', kid: '' } }),
    code: 'A0200000',
  },
  { name: 'sjwk header without alg', change: keys => ({ sjwkHeader: { kid: keys.roots[0].kid } }), code: 'A0200002' },
  {
    name: 'sjwk alg none',
    change: keys => ({ sjwkHeader: { alg: 'none', kid: keys.roots[0].kid } }),
    code: 'A0200004',
  },
  { name: 'one character of the sjwk signature', change: () => ({ sjwk: jws => flipped(jws) }), code: 'A0200004' },
  { name: 'one character of the signing key', change: () => ({ sjwk: jws => flipped(jws, 1) }), code: 'A0200004' },
  { name: 'signing key not JSON', change: () => ({ jwk: 'RSA' }), code: 'A0200000' },
  {
    name: 'signing key with n twice',
    change: () => ({ jwk: '{"kty":"RSA","n":"AQAB","n":"AQAB","e":"AQAB"}' }),
    code: 'A0200000',
  },
  { name: 'signing key without n', change: keys => ({ jwk: { ...jwkOf(keys), n: undefined } }), code: 'A0200009' },
  {
    name: 'signing key with another exponent',
    change: keys => ({ jwk: { ...jwkOf(keys), e: 'Aw' } }),
    code: 'A0200009',
  },
  { name: 'signing key of type oct', change: keys => ({ jwk: { ...jwkOf(keys), kty: 'oct' } }), code: 'A0200009' },
  {
    name: 'signing key with n that is not base64',
    change: keys => ({ jwk: { ...jwkOf(keys), n: '§§§' } }),
    code: 'A020000C',
  },
  { name: 'signing key of 1024 bits', change: keys => ({ signingKey: keys.short }), code: 'A020000C' },
]
