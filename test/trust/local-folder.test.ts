import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import test, { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FolderContent } from '../../src/adapters/files/folder-content.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import type { Request } from '../../src/domain/deployment.ts'
import { Hosts } from '../../src/domain/hosts.ts'
import { EXTENDED_RESULT_CODE, ercText } from '../../src/domain/result-codes.ts'
import type { Content } from '../../src/ports/content.ts'
import { SILENT } from '../../src/ports/log.ts'
import type { WorkNote, WorkNotes } from '../../src/ports/work-notes.ts'
import { CrashGuard } from '../../src/sources/crash-guard.ts'
import { DeploymentVerifier } from '../../src/sources/deployment-verifier.ts'
import { LocalSide } from '../../src/sources/local/local-side.ts'
import { CHILD_URLS } from '../bench/authoring/child.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook, MANIFEST, type Recipe } from '../bench/authoring/recipe.ts'
import { withdrawn } from '../bench/authoring/root-key-package.ts'
import { CHILD_FLAWS } from './flaws/children.ts'
import { DEPLOYMENT_FLAWS } from './flaws/deployment.ts'
import { type Flaw, newKeys } from './flaws/flaw.ts'
import { MANIFEST_FLAWS } from './flaws/manifest.ts'
import { PACKAGE_FLAWS } from './flaws/package.ts'
import { SIGNATURE_FLAWS } from './flaws/signature.ts'

const PATIENT = 600_000

const keys = newKeys()
const base = await mkdtemp(join(tmpdir(), 'local-folder-'))
after(() => rm(base, { recursive: true, force: true }))
let count = 0

interface Given {
  /** The root key package that the device has. */
  readonly stored?: Buffer
  /** Default: the folder is read as it is. */
  readonly content?: Content
  /** The notes about the work of earlier processes. */
  readonly notes?: { begun: Readonly<Record<string, WorkNote>> }
}

/** The agent's own path from a folder to what the loop is asked. */
async function asked(folder: string, given: Given = {}) {
  const { side, requests } = agentFor(given)
  const answer = await side.install(folder)
  const [request] = requests
  return { answer, ...(request?.kind === 'once' ? request : {}) }
}

function agentFor({ stored, content, notes = { begun: {} } }: Given = {}) {
  const nobody = { get: () => Promise.reject(new Error('a folder needs no network')) }
  const ports = {
    ...{
      content: content ?? new FolderContent(nobody, PATIENT),
      clock: systemClock,
      log: SILENT,
      events: { tell() {}, saw() {} },
    },
    journal: { read: async () => ({ is: 'none' }) as const, write: async () => {} },
    keyStore: { read: async () => stored, write: async () => {} },
    tried: { read: async () => [], write: async () => {} },
  }
  const builtIn = keys.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) }))
  const options = {
    ...{ anchors: { builtIn, configured: [] }, compatibility: 'enforce' as const },
    ...{ properties: { manufacturer: 'Contoso', model: 'Toaster' }, fetch: { rangeBytes: 65_536, timeout: 10_000 } },
  }
  const workNotes: WorkNotes = {
    read: async () => ({ boot: '', begun: notes.begun }),
    write: async begun => {
      notes.begun = begun
    },
  }
  const verifier = new DeploymentVerifier(ports, options, new CrashGuard({ workNotes, log: SILENT }))
  const requests: Request[] = []
  const side: LocalSide = new LocalSide(
    ports,
    { allowBundles: false, hosts: new Hosts('test', []) },
    {
      busy: () => undefined,
      whyNot: () => undefined,
      objection: () => undefined,
      verify: (...given) => verifier.verifyLocal(...given),
      wake: () => {
        const { request } = side
        if (!request) return
        requests.push(request)
        side.settle(request, { is: 'begun' })
      },
    },
  )
  return { side, requests }
}

/** A folder with the deployment; URLs become the names of files in it. */
async function brought(change: Partial<Recipe> = {}, detached: readonly Buffer[] = []): Promise<string> {
  const folder = join(base, String(count++))
  await mkdir(folder)
  const { service, rootKeyPackage } = cook(keys, change)
  const sent = service as Record<string, unknown> | null
  const named = (url: unknown): unknown =>
    typeof url === 'string' && url.startsWith('http://contoso') ? basename(url) : url
  const urls = sent?.fileUrls
  const isMap = typeof urls === 'object' && urls !== null && !Array.isArray(urls)
  const fileUrls = isMap ? Object.fromEntries(Object.entries(urls).map(([id, url]) => [id, named(url)])) : urls
  const local = sent && { ...sent, fileUrls, rootKeyPackageUrl: named(sent.rootKeyPackageUrl) }
  await writeFile(join(folder, 'deployment.json'), JSON.stringify(local))
  await writeFile(join(folder, 'rootkeypackage-1.json'), rootKeyPackage)
  await writeFile(join(folder, 'toaster.swu'), Buffer.alloc(1000))
  const [content] = detached
  if (content) for (const url of Object.values(CHILD_URLS)) await writeFile(join(folder, basename(url)), content)
  return folder
}

const codeOf = async (folder: string) => {
  const { answer } = await asked(folder)
  return answer.is === 'refused' ? answer.code : answer.is
}

test('a deployment in a folder becomes one image with the signed hash, size, version and update id', async () => {
  const folder = await brought()
  const { answer, update } = await asked(folder)
  assert.equal(answer.is, 'begun')
  const file = MANIFEST.files.f06b052ef8f38d681
  assert.deepEqual(update, {
    ...{ url: `file://${folder}/toaster.swu`, local: true, updateId: MANIFEST.updateId, version: '1.0.1' },
    ...{ sizeInBytes: file.sizeInBytes, sha256: Buffer.from(file.hashes.sha256, 'base64').toString('hex') },
  })
})

const FLAWS: readonly Flaw[] = [...SIGNATURE_FLAWS, ...MANIFEST_FLAWS, ...CHILD_FLAWS, ...PACKAGE_FLAWS]

/** Found earlier here: the file is at hand, so its size is seen first. */
const EARLIER: Readonly<Record<string, string>> = { 'child manifest that is one byte longer': '32100003' }

for (const { name, change, code, detached } of FLAWS) {
  if (name.includes('100 MB')) continue
  test(`in a folder too: ${name}`, async () => {
    assert.equal(await codeOf(await brought(change(keys), detached)), EARLIER[name] ?? code)
  })
}

/** The unsigned part: the workflow is not read, and all else must be the name of a file in the folder. */
for (const { name, change, code } of DEPLOYMENT_FLAWS) {
  if (name.includes('100 MB')) continue
  test(`in a folder too: ${name}`, async () => {
    const found = await codeOf(await brought(change(keys)))
    if (/^no workflow|^no action|workflow\.id/.test(name)) assert.equal(found, 'begun')
    else assert.ok([code, '32100610', '32100611'].includes(found), found)
  })
}

test('a deployment.json of 10 MB is refused by its size', async () => {
  const folder = await brought()
  await appendFile(join(folder, 'deployment.json'), Buffer.alloc(10_000_000, ' '))
  assert.equal(await codeOf(folder), '32100610')
})

test('only plain files in the folder are read, and nothing is waited for', async () => {
  const secret = join(base, 'secret')
  await writeFile(secret, Buffer.alloc(1000))
  const swaps: Readonly<Record<string, (path: string) => unknown>> = {
    'a link that leads out': path => symlink(secret, path),
    'a link within': path => symlink('deployment.json', path),
    'a link to nothing': path => symlink('/nowhere', path),
    'a pipe': path => execFileSync('mkfifo', [path]),
    'a folder': path => mkdir(path),
    'a device': path => symlink('/dev/zero', path),
    nothing: () => {},
  }
  for (const file of ['deployment.json', 'rootkeypackage-1.json', 'toaster.swu']) {
    for (const [what, swap] of Object.entries(swaps)) {
      const folder = await brought()
      await rm(join(folder, file))
      await swap(join(folder, file))
      const found = await codeOf(folder)
      const wanted = file === 'rootkeypackage-1.json' ? /^A01/ : /^32100611$/
      assert.match(found, wanted, `${file}: ${what}`)
    }
  }
})

test('an image of another size is found before anything begins', async () => {
  const folder = await brought()
  await appendFile(join(folder, 'toaster.swu'), 'x')
  assert.equal(await codeOf(folder), '32100003')
})

test('a folder with an older root key package is judged by the newer one that this device has', async () => {
  const old = await brought()
  const newer = cook(keys, { packageContent: content => ({ ...content, version: 2 }) }).rootKeyPackage
  assert.equal((await asked(old, { stored: newer })).answer.is, 'begun')
  const signing = [withdrawn(keys.signing.privateKey)]
  const revoking = { packageContent: (content: object) => ({ ...content, version: 2, disabledSigningKeys: signing }) }
  const { answer } = await asked(old, { stored: cook(keys, revoking).rootKeyPackage })
  assert.equal(answer.is === 'refused' && answer.code, 'A0000005')
})

test('a folder that ends the process at each try is refused after three of them', async () => {
  const folder = await brought()
  const notes = { begun: {} }
  const plain = new FolderContent({ get: () => assert.fail('a folder needs no network') }, PATIENT)
  for (let process = 0; process < 3; process++) {
    let died: typeof notes.begun | undefined
    const content: Content = {
      get: (url, ...given) => {
        // The process dies there: this is what stays on the disk.
        if (url.endsWith('rootkeypackage-1.json')) died = notes.begun
        return plain.get(url, ...given)
      },
    }
    assert.equal((await asked(folder, { content, notes })).answer.is, 'begun')
    notes.begun = died ?? assert.fail('not read')
    // The id of the next try is another one.
    await sleep(5)
  }
  const { answer } = await asked(folder, { notes })
  assert.equal(answer.is === 'refused' && answer.code, ercText(EXTENDED_RESULT_CODE.CRASH_LOOP))
})

test('a list of steps is named by its deployment.json, with the version of its image', async () => {
  const [step] = MANIFEST.instructions.steps
  const folder = await brought({ manifest: { ...MANIFEST, instructions: { steps: [step, step] } } })
  const { answer, update, list } = await asked(folder)
  assert.equal(answer.is, 'begun')
  const { updateId } = MANIFEST
  const url = `file://${folder}/deployment.json`
  assert.deepEqual(update, { url, local: true, list: true, updateId, version: '1.0.1' })
  assert.deepEqual(
    list?.plans.map(({ urls }) => urls),
    Array(2).fill({ f06b052ef8f38d681: `file://${folder}/toaster.swu` }),
  )
  await appendFile(join(folder, 'toaster.swu'), 'x')
  assert.equal(await codeOf(folder), '32100003')
  await rm(join(folder, 'toaster.swu'))
  assert.equal(await codeOf(folder), '32100611')
})

test('one after the other: a second request while a folder is read is refused', async () => {
  const folder = await brought()
  const { side } = agentFor()
  const answers = await Promise.all([side.install(folder), side.install(folder)])
  assert.deepEqual(answers.map(({ is }) => is).sort(), ['begun', 'refused'])
})
