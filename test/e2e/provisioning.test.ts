import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startRig } from './rig.ts'

// A device that has neither hub nor device id in its configuration, from its first start to an installed update.

const rig = await startRig()
const two = await rig.system('2.0.0')
const { hub } = rig.bench

rig.test(
  'assigned once, updated, restarted: one registration, and the key is nowhere but in its file',
  { on: false },
  async pi => {
    hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' } })
    const key = hub.provisioning.deviceKey('fleet', pi.id)
    const keyFile = join(pi.folder.dir, 'dps.key')
    const idFile = join(pi.folder.dir, 'id')
    await writeFile(keyFile, `${key}\n`, { mode: 0o600 })
    await writeFile(idFile, pi.id.toUpperCase())
    await pi.configure(config => {
      const [agent] = config.agents as { connectionSource?: unknown }[]
      delete agent?.connectionSource
      Object.assign(config.piAdu as object, {
        provisioning: {
          ...{ idScope: hub.provisioning.idScope, host: `localhost:${hub.mqttPort}`, caFile: hub.caFile },
          ...{ symmetricKeyFile: keyFile, registrationId: `{file:${idFile}}` },
        },
      })
    })
    // A service that is busy at first delays the device, and nothing else.
    hub.faults.inject({
      ...{ kind: 'provisioning', deviceId: pi.id, at: 'register', times: 1 },
      do: { do: 'fail', status: 429, retryAfter: '2' },
    })
    await pi.switchOn()
    await hub.waitForConnected(pi.id, { timeoutMs: 60_000 })
    await pi.settled(pi.deploy(two))
    // The busy one is not counted.
    assert.equal(hub.provisioning.registrationsOf(pi.id), 1)
    const [failed] = await pi.log.lines('identity.registration-failed')
    assert.match(JSON.stringify(failed), /is busy: 429/)
    const files = await readdir(pi.folder.dir, { recursive: true, withFileTypes: true })
    for (const file of files.filter(each => each.isFile() && !each.name.endsWith('.img') && each.name !== 'dps.key')) {
      const text = await readFile(join(file.parentPath, file.name), 'latin1').catch(() => '')
      assert.ok(!text.includes(key) && !text.includes(encodeURIComponent(key)), file.name)
    }
  },
)
