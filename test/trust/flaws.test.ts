import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { explain } from '../../src/cli/verify/explain.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook, MANIFEST, type Recipe } from '../bench/authoring/recipe.ts'
import { withdrawn } from '../bench/authoring/root-key-package.ts'
import { CHILD_FLAWS } from './flaws/children.ts'
import { DEPLOYMENT_FLAWS } from './flaws/deployment.ts'
import { type Flaw, newKeys } from './flaws/flaw.ts'
import { MANIFEST_FLAWS } from './flaws/manifest.ts'
import { PACKAGE_FLAWS } from './flaws/package.ts'
import { SIGNATURE_FLAWS } from './flaws/signature.ts'

const keys = newKeys()
const builtIn = keys.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) }))
const properties = { manufacturer: 'Contoso', model: 'Toaster' }

async function explained(change: Partial<Recipe>, detached: readonly Buffer[] = []) {
  const { service, rootKeyPackage } = cook(keys, change)
  return explain(
    { $version: 4, deviceUpdate: { __t: 'c', service } },
    {
      ...{ anchors: { builtIn, configured: [] }, compatibility: 'enforce', properties, rootKeyPackage },
      ...{ detached, device: undefined },
    },
  )
}

/** What may differ without being a flaw: the same way must lead to a good end. */
const FINE: readonly (readonly [string, Partial<Recipe>])[] = [
  ['as the service does it', {}],
  ['RS384', { header: { alg: 'RS384' } }],
  ['RS512', { sjwkHeader: { alg: 'RS512', kid: 'TEST.1.R' } }],
  ['the other root key', { rootKey: keys.roots[1] }],
  ['n in base64url', { jwk: { kty: 'RSA', ...publicNumbers(keys.signing.privateKey) } }],
  ['n with a sign byte', { jwk: { kty: 'RSA', n: signByte(), e: 'AQAB' } }],
  ['unknown members', { manifest: { ...MANIFEST, future: { deep: [1] } } }],
  ['version 4', { manifest: { ...MANIFEST, manifestVersion: '4' } }],
  ['version 5.0', { manifest: { ...MANIFEST, manifestVersion: '5.0' } }],
  ['white space in the manifest', { manifest: JSON.stringify(MANIFEST, null, 2) }],
  ['null entries in fileUrls', { fileUrls: { old: null, f06b052ef8f38d681: 'https://contoso.example/a?b=c' } }],
  ['no root key package URL', { service: sent => ({ ...sent, rootKeyPackageUrl: null }) }],
  ['white space in the package', { package: text => JSON.stringify(JSON.parse(text), null, 2) }],
  ['extra signatures in the package', { packageSigners: [...keys.roots, keys.stranger] }],
  [
    'another signing key withdrawn',
    { packageContent: content => ({ ...content, disabledSigningKeys: [withdrawn(keys.stranger.privateKey)] }) },
  ],
  ['another root key withdrawn', { packageContent: content => ({ ...content, disabledRootKeys: ['TEST.2.R'] }) }],
]

function signByte(): string {
  const { n } = publicNumbers(keys.signing.privateKey)
  return Buffer.concat([Buffer.alloc(1), Buffer.from(n, 'base64url')]).toString('base64')
}

test('without a flaw the deployment is taken', async t => {
  for (const [name, change] of FINE) {
    await t.test(name, async () => {
      const { verdict, reason, authentic } = await explained(change)
      assert.deepEqual({ verdict, authentic }, { verdict: 'accept', authentic: true }, reason)
    })
  }
})

const FLAWS: Readonly<Record<string, readonly Flaw[]>> = {
  'The deployment, unsigned parts': DEPLOYMENT_FLAWS,
  'The signature': SIGNATURE_FLAWS,
  'The update manifest, rightly signed': MANIFEST_FLAWS,
  'Child manifests': CHILD_FLAWS,
  'The root key package': PACKAGE_FLAWS,
}

const lines: string[] = []
test('one flaw is enough', async t => {
  for (const [area, flaws] of Object.entries(FLAWS)) {
    lines.push('', `## ${area}`, '', '| flaw | verdict | code |', '|---|---|---|')
    for (const { name, change, code, verdict = 'refuse', authentic = false, detached } of flaws) {
      await t.test(`${name}: ${code}`, async () => {
        const begun = process.cpuUsage()
        const { reason, ...found } = await explained(change(keys), detached)
        assert.deepEqual(
          { verdict: found.verdict, code: found.extendedResultCode, authentic: found.authentic },
          { verdict, code, authentic },
          reason,
        )
        assert.ok(reason.length < 700, 'the reason is one readable line')
        // Of the processor: the machine has other work.
        const { user, system } = process.cpuUsage(begun)
        assert.ok(user + system < 5_000_000, `no flaw takes long to find: ${user + system} µs`)
        lines.push(`| ${name} | ${found.verdict} | \`${found.extendedResultCode}\` |`)
      })
    }
  }
})

test('every flaw has its name', () => {
  const names = Object.values(FLAWS).flatMap(flaws => flaws.map(({ name }) => name))
  assert.equal(new Set(names).size, names.length)
  assert.ok(names.length >= 60)
})

test('the table in FLAWS.md is the one that was found', () => {
  const file = join(repositoryRoot(), 'test/trust/FLAWS.md')
  const count = lines.filter(line => line.endsWith('` |')).length
  const text = `# Flaws, and what the agent makes of them

Each is the only thing that is wrong with a deployment that is right in all else. Made by \`test/trust/flaws.test.ts\` from what
the agent answered (${count} flaws); \`UPDATE_FLAWS=1\` writes it anew.
${lines.join('\n')}
`
  if (process.env.UPDATE_FLAWS) writeFileSync(file, text)
  assert.ok(
    readFileSync(file, 'utf8') === text,
    'test/trust/FLAWS.md is out of date: run this test with UPDATE_FLAWS=1',
  )
})
