import assert from 'node:assert/strict'
import { createHash, createPublicKey, verify } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { compactVerify, decodeProtectedHeader, importJWK } from 'jose'
import { cancelPatch, deployPatch, retryPatch } from '../bench/authoring/deploy.ts'
import { detach, referenceTo } from '../bench/authoring/detached.ts'
import { contentPath, publish } from '../bench/authoring/files.ts'
import { type Authority, openAuthority } from '../bench/authoring/keys.ts'
import { fileUrls, importUpdate, type UpdateDescription } from '../bench/authoring/manifest.ts'
import { signManifest } from '../bench/authoring/sign.ts'

let dir: string
let authority: Authority
let description: UpdateDescription

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'authoring-'))
  authority = await openAuthority(join(dir, 'state'))
  await writeFile(join(dir, 'update.swu'), 'the bundle')
  await writeFile(join(dir, 'script.sh'), '#!/bin/sh\n')
  const files = [join(dir, 'script.sh'), join(dir, 'update.swu')]
  description = {
    provider: 'Contoso',
    name: 'Toaster',
    version: '1.0.1',
    compatibility: [{ manufacturer: 'contoso', model: 'toaster' }],
    steps: [
      {
        handler: 'microsoft/script:1',
        files: [files[0]!],
        handlerProperties: { scriptFileName: 'script.sh', installedCriteria: 'x' },
      },
      {
        handler: 'microsoft/swupdate:2',
        files,
        handlerProperties: { swuFileName: 'update.swu', installedCriteria: '1.0.1' },
      },
    ],
  }
})
after(() => rm(dir, { recursive: true }))

const decoded = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())

describe('keys', () => {
  test('are made once, and only the owner may read them', async () => {
    const again = await openAuthority(join(dir, 'state'))
    assert.deepEqual(again.rootKeyJwks, authority.rootKeyJwks)
    assert.equal((await stat(join(dir, 'state', 'BENCH.ROOT.1.pem'))).mode & 0o777, 0o600)
  })

  test('are the same for two processes that start at once', async () => {
    const [one, two] = await Promise.all([openAuthority(join(dir, 'race')), openAuthority(join(dir, 'race'))])
    assert.ok(one.signingKey.privateKey.equals(two.signingKey.privateKey))
  })

  test('have the sizes and names of the service', () => {
    const [root] = authority.rootKeyJwks
    assert.equal(root!.kid, 'BENCH.ROOT.1')
    assert.equal(root!.e, 'AQAB')
    assert.match(root!.n, /^[A-Za-z0-9_-]{512}$/)
    assert.equal(authority.signingKey.kid, 'BENCH.ROOT.1.S')
    assert.equal(authority.signingKey.privateKey.asymmetricKeyDetails?.modulusLength, 2048)
  })
})

describe('signature', () => {
  test('is a chain that jose follows from the root key to the manifest', async () => {
    const text = '{"manifestVersion":"5","text":"ü / \\u0022"}'
    const signature = signManifest(text, authority)
    const { sjwk } = decodeProtectedHeader(signature) as unknown as { sjwk: string }
    const root = await importJWK({ kty: 'RSA', ...authority.rootKeyJwks[0]! }, 'RS256')
    const jwk = JSON.parse(Buffer.from((await compactVerify(sjwk, root)).payload).toString())
    const urlSafe = (standard: string) => Buffer.from(standard, 'base64').toString('base64url')
    const signer = await importJWK({ ...jwk, n: urlSafe(jwk.n), e: urlSafe(jwk.e) }, 'RS256')
    const payload = JSON.parse(Buffer.from((await compactVerify(signature, signer)).payload).toString())
    assert.deepEqual(payload, { sha256: createHash('sha256').update(text).digest('base64') })
  })

  test('has the layout of the service: members, their order, and standard base64 where JWK says base64url', () => {
    const [header, payload, signature] = signManifest('x', authority).split('.')
    assert.deepEqual(Object.keys(decoded(header!)), ['alg', 'sjwk'])
    assert.deepEqual(Object.keys(decoded(payload!)), ['sha256'])
    assert.match(signature!, /^[A-Za-z0-9_-]+$/)
    const [sjwkHeader, jwk] = decoded(header!).sjwk.split('.')
    assert.deepEqual(decoded(sjwkHeader), { alg: 'RS256', kid: 'BENCH.ROOT.1' })
    assert.deepEqual(Object.keys(decoded(jwk)), ['kty', 'n', 'e', 'alg', 'kid'])
    assert.match(decoded(jwk).n, /^[A-Za-z0-9+/]+={0,2}$/)
    assert.equal(decoded(jwk).e, 'AQAB')
  })

  test('of a stranger does not verify with our root key', async () => {
    const stranger = await openAuthority(join(dir, 'stranger'))
    const [header, payload, signature] = signManifest('x', stranger).split('.')
    const key = createPublicKey(authority.signingKey.privateKey)
    assert.ok(!verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature!, 'base64url')))
  })
})

describe('update manifest', () => {
  test('of version 5 names files by id and carries their size and hash', async () => {
    const { manifest, files } = await importUpdate(description)
    const { steps } = JSON.parse(manifest).instructions
    const [script, bundle] = files
    assert.match(script!.fileId, /^f[0-9a-f]{16}$/)
    assert.deepEqual(steps[1].files, [script!.fileId, bundle!.fileId])
    assert.deepEqual(steps[0], { ...description.steps[0], files: [script!.fileId] })
    assert.deepEqual(JSON.parse(manifest).files[bundle!.fileId], {
      fileName: 'update.swu',
      sizeInBytes: 10,
      hashes: { sha256: createHash('sha256').update('the bundle').digest('base64') },
    })
    assert.equal(JSON.parse(manifest).manifestVersion, '5')
  })

  test('is the same text for the same update, and has other file ids for another version', async () => {
    const one = await importUpdate(description)
    assert.equal((await importUpdate(description)).manifest, one.manifest)
    const two = await importUpdate({ ...description, version: '1.0.2' })
    assert.notEqual(two.files[0]!.fileId, one.files[0]!.fileId)
  })

  test('of version 4', async () => {
    assert.equal(
      JSON.parse((await importUpdate({ ...description, manifestVersion: '4' })).manifest).manifestVersion,
      '4',
    )
  })

  test('of version 1 and 2 is flat', async () => {
    const steps = [description.steps[1]!]
    const { manifest, files } = await importUpdate({ ...description, steps, manifestVersion: '1' })
    const flat = JSON.parse(manifest)
    assert.deepEqual(
      [flat.manifestVersion, flat.updateType, flat.installedCriteria, Object.keys(flat.files), flat.instructions],
      ['1', 'microsoft/swupdate:2', '1.0.1', ['00000', '00001'], undefined],
    )
    assert.deepEqual(Object.keys(fileUrls(files, path => path)), ['00000', '00001'])
    await assert.rejects(importUpdate({ ...description, manifestVersion: '2' }), RangeError)
  })

  test('refers to other updates by a file of the parent; the deployment has the files of both', async () => {
    const child = await importUpdate({
      ...description,
      name: 'Sensor',
      compatibility: [{ group: 'sensors' }],
      steps: [description.steps[0]!],
    })
    const reference = await referenceTo(child, dir)
    const parent = await importUpdate({ ...description, steps: [description.steps[1]!, reference] })
    const { instructions, files } = JSON.parse(parent.manifest)
    const { type, detachedManifestFileId } = instructions.steps[1]
    assert.equal(type, 'reference')
    assert.equal(files[detachedManifestFileId].fileName, 'Contoso.Sensor.1.0.1.updatemanifest.json')
    assert.equal(Object.keys(files).length, 3)
    const { updateManifest } = JSON.parse(await readFile(reference.manifestFile, 'utf8'))
    assert.equal(updateManifest, child.manifest)
    assert.deepEqual(
      parent.files.map(({ fileName }) => fileName),
      ['script.sh', 'update.swu', 'Contoso.Sensor.1.0.1.updatemanifest.json', 'script.sh'],
    )
    const whole = await detach(parent, dir)
    assert.equal(Object.keys(fileUrls(whole.files, path => path)).length, 5)
  })

  test('is published where its URLs point', async () => {
    const { files } = await importUpdate(description)
    await publish(files, join(dir, 'content'))
    await publish(files, join(dir, 'content'))
    assert.equal(await readFile(join(dir, 'content', contentPath(files[1]!)), 'utf8'), 'the bundle')
    const urls = fileUrls(files, path => `http://host/${path}`)
    assert.equal(urls[files[1]!.fileId], `http://host/${files[1]!.fileId}/update.swu`)
  })
})

describe('what the service writes', () => {
  const order = { workflowId: 'w2', manifest: 'm2', signature: 's2', fileUrls: { f2: 'http://two' } }
  const running = {
    other: 1,
    deviceUpdate: {
      service: {
        workflow: { action: 3, id: 'w1', retryTimestamp: 'then' },
        rootKeyPackageUrl: 'http://package',
        updateManifest: 'm1',
        updateManifestSignature: 's1',
        fileUrls: { f1: 'http://one', f2: 'http://old' },
      },
    },
  }

  test('for the first deployment', () => {
    assert.deepEqual(deployPatch({}, { ...order, rootKeyPackageUrl: 'http://p' }), {
      deviceUpdate: {
        __t: 'c',
        service: {
          workflow: { action: 3, id: 'w2' },
          rootKeyPackageUrl: 'http://p',
          updateManifest: 'm2',
          updateManifestSignature: 's2',
          fileUrls: { f2: 'http://two' },
        },
      },
    })
  })

  test('for the next deployment clears what the one before left', () => {
    assert.deepEqual(deployPatch(running, order).deviceUpdate, {
      __t: 'c',
      service: {
        workflow: { action: 3, id: 'w2', retryTimestamp: null },
        rootKeyPackageUrl: null,
        updateManifest: 'm2',
        updateManifestSignature: 's2',
        fileUrls: { f1: null, f2: 'http://two' },
      },
    })
  })

  test('for a cancel, of any deployment or of one', () => {
    assert.deepEqual(cancelPatch({}).deviceUpdate, {
      __t: 'c',
      service: {
        workflow: { action: 255, id: 'nodeployment' },
        updateManifest: null,
        updateManifestSignature: null,
        fileUrls: null,
      },
    })
    assert.deepEqual(cancelPatch(running, 'w1').deviceUpdate, {
      __t: 'c',
      service: {
        workflow: { action: 255, id: 'w1', retryTimestamp: null },
        rootKeyPackageUrl: null,
        updateManifest: null,
        updateManifestSignature: null,
        fileUrls: null,
      },
    })
  })

  test('for a retry: the same order with a new time', () => {
    assert.deepEqual(retryPatch(running, 'now').deviceUpdate, {
      __t: 'c',
      service: { workflow: { action: 3, id: 'w1', retryTimestamp: 'now' } },
    })
    assert.throws(() => retryPatch({}, 'now'), RangeError)
  })
})
