import { CHILD_ID, CHILD_MANIFEST, CHILD_URLS, childOf, parentOf, REFERENCE } from '../../bench/authoring/child.ts'
import { MANIFEST } from '../../bench/authoring/recipe.ts'
import type { Flaw } from './flaw.ts'

type Given = Parameters<typeof childOf>
const URLS = { ...CHILD_URLS, f06b052ef8f38d681: 'http://contoso.example/toaster.swu' }

/** A rightly signed parent whose child has the hash that the parent says. */
function child(name: string, code: string, given: Given, steps?: readonly object[]): Flaw {
  const made = childOf(...given)
  const change = () => ({ manifest: parentOf(made, steps), fileUrls: URLS })
  return { name, change, code, authentic: true, detached: [made.content] }
}

const manifest = (name: string, change: object, code: string) => child(name, code, [{ ...CHILD_MANIFEST, ...change }])
const content = (name: string, text: string | Buffer, code = '30400003') => child(name, code, [CHILD_MANIFEST, text])
const step = (change: object) => ({ instructions: { steps: [{ ...MANIFEST.instructions.steps[0], ...change }] } })

/** The parent is fine, and its child is not there. */
const absent = (name: string, entity: object, code: string, fileUrls: object = URLS): Flaw => ({
  name,
  change: () => ({ manifest: parentOf({ ...childOf(), entity } as ReturnType<typeof childOf>), fileUrls }),
  code,
  authentic: true,
})

const { entity } = childOf()
const asText = (json: object) => JSON.stringify({ updateManifest: JSON.stringify(json) })
const another = childOf({ ...CHILD_MANIFEST, updateId: { ...CHILD_MANIFEST.updateId, version: '2.1' } })

export const CHILD_FLAWS: readonly Flaw[] = [
  child('reference step for a component that the device does not have', '32100013', []),
  child(
    'ten steps, the last a reference step',
    '32100013',
    [],
    [...Array.from({ length: 9 }, () => MANIFEST.instructions.steps[0]), REFERENCE],
  ),
  {
    ...child('child manifest with another hash than the parent says', '4000000C', []),
    detached: [another.content],
  },
  {
    ...child('child manifest that is one byte longer', '4000000C', []),
    detached: [Buffer.concat([childOf().content, Buffer.from(' ')])],
  },
  child(
    'child manifest of another update than the step names',
    '30400003',
    [],
    [{ ...REFERENCE, updateId: { ...CHILD_MANIFEST.updateId, version: '2.1' } }],
  ),
  child('reference step with half an updateId', '80300009', [], [{ ...REFERENCE, updateId: { provider: 'Contoso' } }]),
  absent('child manifest without a URL', entity, '40000007', { ...URLS, [CHILD_ID]: undefined }),
  absent('child manifest of 10 MB', { ...entity, sizeInBytes: 10_000_000 }, '30400003'),
  absent('child manifest with a path for a name', { ...entity, fileName: '../motor.json' }, '32100002'),
  absent('child manifest without a hash', { ...entity, hashes: {} }, '4000000B'),
  {
    name: 'three child manifests of 1 MB',
    change: () => {
      const big = (letter: string) => ({
        ...entity,
        sizeInBytes: 1_000_000,
        hashes: { sha256: `${letter.repeat(43)}=` },
      })
      const steps = ['A', 'E', 'I'].map(id => ({ ...REFERENCE, detachedManifestFileId: id }))
      const files = { ...MANIFEST.files, A: big('A'), E: big('E'), I: big('I') }
      return { manifest: { ...MANIFEST, instructions: { steps }, files }, fileUrls: URLS }
    },
    code: '30400003',
    authentic: true,
  },
  content('child manifest that is not JSON', 'manifest'),
  content('child manifest that is not UTF-8', Buffer.from([0x22, 0xff, 0x22])),
  content('child manifest without updateManifest', '{}'),
  content('child manifest whose text is not JSON', JSON.stringify({ updateManifest: '{' })),
  content('child manifest with a byte order mark', `\ufeff${asText(CHILD_MANIFEST)}`),
  content('child manifest with a member twice', asText(CHILD_MANIFEST).replace('{', '{"updateManifest":"{}",')),
  content('child manifest nested too deep', JSON.stringify({ updateManifest: '['.repeat(40) + ']'.repeat(40) })),
  content('child manifest that names a detached manifest', asText({ ...CHILD_MANIFEST, detachedManifestFileId: 'f1' })),
  manifest('child manifest that is the parent', { updateId: MANIFEST.updateId }, '30400003'),
  manifest('child manifest of version 3', { manifestVersion: '3' }, '30400003'),
  content(
    'child manifest that is flat',
    asText({
      ...{ manifestVersion: '2.0', updateId: CHILD_MANIFEST.updateId, files: MANIFEST.files },
      ...{ updateType: 'microsoft/swupdate:1', installedCriteria: '2' },
    }),
  ),
  manifest(
    'child manifest with a reference step',
    { ...parentOf(another), updateId: CHILD_MANIFEST.updateId },
    '30400009',
  ),
  manifest('child manifest with a reference step to nothing', { instructions: { steps: [REFERENCE] } }, '30400009'),
  manifest('child manifest without steps', { instructions: { steps: [] } }, '30400003'),
  manifest('child step without handler', step({ handler: undefined }), '8040000C'),
  manifest('child step without handlerProperties', step({ handlerProperties: undefined }), '8040000D'),
  manifest('child step with a file of the parent alone', step({ files: [CHILD_ID] }), '30400003'),
  manifest(
    'child file with a path for a name',
    { files: { f06b052ef8f38d681: { ...MANIFEST.files.f06b052ef8f38d681, fileName: '../../etc/passwd' } } },
    '32100002',
  ),
]
