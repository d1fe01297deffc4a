import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { redact, secretsOf } from '../../src/domain/redact.ts'
import { type Pi, startRig } from './rig.ts'

const rig = await startRig()
const two = await rig.system('2.0.0')
const three = await rig.system('3.0.0')

/** Every way in which the device's key may be written. */
function spellings(connectionString: string): string[] {
  const key = /SharedAccessKey=([^;]+)/.exec(connectionString)?.[1] ?? ''
  assert.ok(key.length >= 16, 'the device has a key')
  const bytes = Buffer.from(key, 'base64')
  return [key, encodeURIComponent(key), bytes.toString('base64url'), bytes.toString('hex'), key.slice(0, 16)]
}

/** `pi-adu` as a person runs it: exit code and everything it said. */
function cli(...argv: string[]): Promise<{ code: unknown; said: string }> {
  const program = join(repositoryRoot(), 'dist/src/main.js')
  return new Promise(resolve => {
    execFile(process.execPath, [program, ...argv], { timeout: 20_000 }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, said: stdout + stderr }),
    )
  })
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
}

/** Nothing that a device leaves behind has the key in it, but for its configuration. */
async function silent(pi: Pi, secrets: readonly string[]): Promise<number> {
  const files = (await filesBelow(pi.folder.dir)).filter(file => !file.endsWith('.img') && file !== pi.folder.config)
  const texts = await Promise.all(
    files.map(async file => [file, await readFile(file, 'latin1').catch(() => '')] as const),
  )
  const twin = ['the reported twin', JSON.stringify(pi.reported)] as const
  for (const [where, text] of [...texts, twin]) {
    for (const secret of secrets) assert.ok(!text.includes(secret), `${where} has the device's key in it`)
    assert.doesNotMatch(text, /SharedAccessSignature sr=|sig=(?!…)/, where)
  }
  return texts.length
}

rig.test('after good and bad deployments, lost connections and a wrong key: the key is nowhere', {}, async pi => {
  const connectionString = rig.bench.hub.deviceConnectionString(pi.id)
  const secrets = spellings(connectionString)
  await pi.settled(pi.deploy(two))
  const signed = `${rig.bench.content.url('none.swu')}?sv=2024&sig=${encodeURIComponent(secrets[0] ?? '')}&se=2030`
  const fileUrls = Object.fromEntries(three.files.map(({ fileId }) => [fileId, signed]))
  assert.equal((await pi.settled(pi.deploy(three, { fileUrls }))).lastInstallResult.resultCode, 0)
  await pi.settled(pi.deploy(three, { signature: `${signed}.x.y` }))
  await pi.settled(pi.deploy(three, { workflowId: 'with-package', rootKeyPackageUrl: `${signed}&x` }))
  rig.bench.hub.faults.inject({ kind: 'dropSockets', deviceId: pi.id })
  await pi.events.waitFor('hub.lost')
  await pi.powerCut()
  // A key that the hub does not know: what the SDK says about it goes into the log.
  const wrong = connectionString.replace(
    /SharedAccessKey=[^;]+/,
    `SharedAccessKey=${Buffer.alloc(32, 7).toString('base64')}`,
  )
  const setKey = (text: string) =>
    pi.configure(config => {
      Object.assign((config.agents as { connectionSource: object }[])[0]?.connectionSource ?? {}, {
        connectionData: text,
      })
    })
  await setKey(wrong)
  const before = (await pi.events.all('hub.lost')).length
  await pi.switchOn()
  await pi.events.waitFor('hub.lost', before + 2)
  assert.ok((await silent(pi, [...secrets, ...spellings(wrong)])) >= 5)
  await setKey(connectionString)
})

rig.test(
  'mistakes in the configuration, and the programs a person runs, do not show the key either',
  { on: false },
  async pi => {
    const secrets = spellings(rig.bench.hub.deviceConnectionString(pi.id))
    const whole = await readFile(pi.folder.config, 'utf8')
    const commands = [['run'], ['status'], ['verify', '/dev/null']].map(argv => [...argv, '--config', pi.folder.config])
    for (const broken of [
      whole.slice(0, whole.indexOf('SharedAccessKey=') + 30),
      whole.replace('"connectionType": "string"', '"connectionType": "magic"'),
      whole.replace('SharedAccessKey=', 'SharedAccessKey = '),
      whole.replace('HostName=', 'Host='),
    ]) {
      await writeFile(pi.folder.config, broken)
      for (const argv of commands) {
        const { said } = await cli(...argv)
        for (const secret of secrets) assert.ok(!said.includes(secret), `${argv[0]} shows the key`)
      }
    }
  },
)

rig.test('a configuration that everybody may read is refused', { on: false }, async pi => {
  assert.equal((await stat(pi.folder.config)).mode & 0o777, 0o600)
  await chmod(pi.folder.config, 0o644)
  const { code, said } = await cli('run', '--config', pi.folder.config)
  assert.equal(code, 78)
  assert.match(said, /everybody can read it: chmod 600/)
})

test('what is taken out of a text, and what is left in', () => {
  const connection = 'HostName=h.azure-devices.net;DeviceId=pi;SharedAccessKey=c2VjcmV0c2VjcmV0;GatewayHostName=g'
  for (const text of [
    connection,
    JSON.stringify({ why: connection }),
    JSON.stringify({ why: JSON.stringify({ sharedAccessKey: 'c2VjcmV0c2VjcmV0' }) }),
    'SharedAccessSignature sr=h%2Fdevices&sig=c2VjcmV0c2VjcmV0&se=1',
    'https://account.blob.core.windows.net/c/b?sv=2024&se=1&sig=c2VjcmV0c2VjcmV0&sp=r',
    'http://user:c2VjcmV0c2VjcmV0@proxy:8080/',
    'AccountKey=c2VjcmV0c2VjcmV0;EndpointSuffix=x',
    '-----BEGIN PRIVATE KEY-----\\nc2VjcmV0c2VjcmV0\\n-----END PRIVATE KEY-----',
  ]) {
    assert.ok(!redact(text).includes('c2VjcmV0'), text)
  }
  for (const text of [
    '{"event":"fetch.interrupted","why":"contoso.example: connection reset","offset":12}',
    'updateManifestSignature: does not verify with the signing key (A0200004)',
    'HostName=h;SharedAccessKeyName=policy',
    'http://contoso.example/a.swu?version=2',
  ]) {
    assert.equal(redact(text), text)
  }
  assert.equal(redact('the key is c2VjcmV0c2VjcmV0 here', secretsOf(connection)), 'the key is … here')
})
