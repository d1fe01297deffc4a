import { MANIFEST, type Recipe } from '../../bench/authoring/recipe.ts'
import type { Flaw } from './flaw.ts'

const ID = '6423dd30aacfd9abd4f75103'
const FILE = 'f06b052ef8f38d681'

/** Unsigned parts of the deployment: whoever can write the twin can write these. */
const deployment = (name: string, change: Partial<Recipe>, code: string): Flaw => ({
  name,
  change: () => change,
  code,
  authentic: true,
})
const ignored = (name: string, workflow: object | null, code = '80300010'): Flaw => ({
  ...deployment(name, { workflow }, code),
  verdict: 'ignore',
})
const id = (name: string, value: string) =>
  deployment(`workflow.id ${name}`, { workflow: { action: 3, id: value } }, '32100002')
const urls = (name: string, fileUrls: unknown) => deployment(name, { fileUrls }, '40000007')
const url = (name: string, address: unknown) => urls(`URL ${name}`, { [FILE]: address })
const service = (name: string, change: object, code: string): Flaw =>
  deployment(name, { service: sent => ({ ...sent, ...change }) }, code)

export const DEPLOYMENT_FLAWS: readonly Flaw[] = [
  ignored('no workflow', null),
  ignored('no action', { id: ID }),
  ignored('action null', { action: null, id: ID }),
  ignored('action 0, download', { action: 0, id: ID }),
  ignored('action 1, install', { action: 1, id: ID }),
  ignored('action 4', { action: 4, id: ID }),
  ignored('action -1', { action: -1, id: ID }),
  ignored('action 3.5', { action: 3.5, id: ID }),
  ignored('action as text', { action: '3', id: ID }),
  ignored('action in a list', { action: [3], id: ID }),
  ignored('no workflow.id', { action: 3 }, '80300009'),
  ignored('workflow.id empty', { action: 3, id: '' }, '80300009'),
  ignored('workflow.id a number', { action: 3, id: 7 }, '80300009'),
  ignored('workflow.id of 100 kB', { action: 3, id: 'a'.repeat(1e5) }, '80300009'),
  id('..', '..'),
  id('../../x', '../../x'),
  id('with a blank', 'a b'),
  id('that is an option', '-x'),
  id('of 200 characters', 'a'.repeat(200)),
  { ...service('manifest missing', { updateManifest: undefined }, '80300001'), authentic: false },
  { ...service('manifest an object', { updateManifest: MANIFEST }, '80300001'), authentic: false },
  { ...service('manifest in a list', { updateManifest: [JSON.stringify(MANIFEST)] }, '80300001'), authentic: false },
  {
    ...service('manifest with a newline at its end', { updateManifest: `${JSON.stringify(MANIFEST)}\n` }, '80300001'),
    authentic: false,
  },
  service('package URL empty', { rootKeyPackageUrl: '' }, '80300011'),
  service('package URL a number', { rootKeyPackageUrl: 1 }, '80300011'),
  service('package URL without scheme', { rootKeyPackageUrl: 'contoso.example/x.json' }, '80700002'),
  service('package URL of a file', { rootKeyPackageUrl: 'file:///etc/passwd' }, '80700002'),
  urls('no fileUrls', undefined),
  urls('fileUrls null', null),
  urls('fileUrls without the file', { other: 'http://contoso.example/x' }),
  urls('fileUrls in a prototype', { ['__proto__']: { [FILE]: 'http://contoso.example/x' } }),
  url('null', null),
  url('a number', 1),
  url('empty', ''),
  url('of a file', 'file:///etc/shadow'),
  url('of FTP', 'ftp://contoso.example/toaster.swu'),
  url('of data', 'data:,x'),
  url('relative', '/toaster.swu'),
]
