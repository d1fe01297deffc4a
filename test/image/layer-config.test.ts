import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readLayers } from '../../image/builder/layers.ts'
import { readConfig } from '../../src/config/config.ts'
import { LAYER_DEFAULTS, merged } from '../../src/config/layer-defaults.ts'
import { ConfigError } from '../../src/domain/errors.ts'

async function aFolder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fragment-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

function layer(dir: string, name: string, config: unknown, head: object = {}): string {
  const folder = join(dir, name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'layer.json'), JSON.stringify({ name, version: '1.0.0', ...head }))
  writeFileSync(join(folder, 'du-config.json'), typeof config === 'string' ? config : JSON.stringify(config))
  return folder
}

const piAdu = (section: string, value: unknown) => ({ piAdu: { [section]: value } })

test('a layer sets what all its devices share, and nothing of a device or of the image', async t => {
  const dir = await aFolder(t)
  for (const [config, why, head] of [
    ['{', /du-config\.json is not valid JSON: line 1/],
    ['[]', /du-config\.json: it is not an object/],
    ['{"piAdu": {}, "piAdu": {}}', /this name is here for the second time/],
    [{ manufacturer: 'contoso' }, /manufacturer belongs to the device or to the image/],
    [piAdu('provisioning', { idScope: 'x' }), /piAdu\.provisioning\.idScope belongs to the device/],
    [piAdu('slots', { a: { device: '/dev/sda' } }), /piAdu\.slots\.a\.device belongs to/],
    [piAdu('host', { rebootCommand: ['true'] }), /piAdu\.host\.rebootCommand belongs to/],
    [{ 'piAdu.leds.green': 17 }, /piAdu\.leds\.green is not a setting: write it as objects in each other/],
    [{ 'a\nb\u009b2J': 1 }, /^Error: layer bad is refused: du-config\.json: a b\\u009b2J belongs to the device[^\n]*$/],
    [piAdu('leds', { 'a\nb': 1 }), /^Error: layer bad is refused: du-config\.json: piAdu\.leds\.a b[^\n]*$/],
    [piAdu('nothing', 1), /piAdu\.nothing belongs to/],
    [piAdu('trust', { allowDowngrade: true }), /piAdu\.trust\.allowDowngrade decides what devices trust: name it/],
    [piAdu('bundle', { allow: ['scripts'] }), /piAdu\.bundle\.allow decides/],
    [piAdu('content', { allowedHosts: ['x.example'] }), /piAdu\.content\.allowedHosts decides/],
    [piAdu('firmwareUpdate', { enabled: true }), /piAdu\.firmwareUpdate\.enabled decides/],
    [piAdu('hub', { spreadSeconds: -1 }), /piAdu\.hub\.spreadSeconds/],
    [
      piAdu('hub', { spreadSeconds: 60 }),
      /"piAdu\.trust\.providers" needs no naming/,
      { settings: ['piAdu.trust.providers'] },
    ],
    [
      piAdu('hub', { spreadSeconds: 60 }),
      /"piAdu\.hub\.spreadSeconds" needs no naming/,
      { settings: ['piAdu.hub.spreadSeconds'] },
    ],
    [piAdu('hub', { spreadSeconds: 60 }), /settings must be a list/, { settings: 'x' }],
  ] as const) {
    await assert.rejects(readLayers([layer(dir, 'bad', config, head)]), why)
  }
  const named = layer(dir, 'named', piAdu('trust', { allowDowngrade: false }), {
    settings: ['piAdu.trust.allowDowngrade'],
  })
  assert.deepEqual(
    (await readLayers([layer(dir, 'panel', piAdu('button', { gpio: 23 }))])).config,
    piAdu('button', { gpio: 23 }),
  )
  const free = layer(dir, 'free', piAdu('hub', { spreadSeconds: 60 }))
  const { config, list } = await readLayers([named, free])
  assert.deepEqual(config, { piAdu: { trust: { allowDowngrade: false }, hub: { spreadSeconds: 60 } } })
  layer(dir, 'free', piAdu('hub', { spreadSeconds: 61 }))
  assert.notEqual((await readLayers([named, free])).list[1]!.sha256, list[1]!.sha256)
  const again = layer(dir, 'again', piAdu('hub', { spreadSeconds: 70 }))
  await assert.rejects(readLayers([free, again]), /piAdu\.hub\.spreadSeconds is also in layer free/)
})

test('the configuration of a device stands before the settings of layers', async t => {
  const dir = await aFolder(t)
  const file = join(dir, 'du-config.json')
  const own = (section: object) => ({
    ...{ schemaVersion: '1.1', manufacturer: 'contoso', model: 'pi4' },
    agents: [{ name: 'main', manufacturer: 'contoso', model: 'pi4' }],
    piAdu: { provisioning: { idScope: '0ne', registrationId: 'x', symmetricKeyFile: '/data/adu/dps.key' }, ...section },
  })
  const defaults = join(dir, 'defaults.json')
  const read = async (section: object, layers: string) => {
    writeFileSync(file, JSON.stringify(own(section)), { mode: 0o600 })
    writeFileSync(defaults, layers)
    return (await readConfig(file, {}, defaults)).piAdu
  }
  const layers = JSON.stringify({ piAdu: { hub: { spreadSeconds: 60, keepAliveSeconds: 100 }, leds: { green: 17 } } })
  const { hub, leds } = await read({ hub: { spreadSeconds: 5 } }, layers)
  assert.deepEqual([hub.spreadSeconds, hub.keepAliveSeconds, leds.green], [5, 100, 17])
  const pressed = await read(
    { button: { gpio: 5 } },
    JSON.stringify({ piAdu: { button: { gpio: 23, activeLow: false } } }),
  )
  assert.deepEqual([pressed.button.gpio, pressed.button.activeLow], [5, true], 'and so does the one of a button')
  const whole = await read({ leds: { red: 27 } }, layers)
  assert.deepEqual([whole.leds.green, whole.leds.red], [undefined, 27], 'a section of lights stands as a whole')
  await assert.rejects(
    read({}, '{'),
    (error: Error) => error instanceof ConfigError && error.message.includes(defaults),
  )
  assert.equal((await readConfig(file, {}, join(dir, 'none'))).piAdu.leds.green, undefined)
  assert.equal(LAYER_DEFAULTS.startsWith('/usr/'), true, 'a part of the slot')
})

test('merging takes lists and other values as they are', () => {
  assert.deepEqual(merged({ a: [1], b: { c: 1 }, d: null }, { a: [2, 3], b: { c: 2, e: 3 }, d: 4, f: 5 }), {
    ...{ a: [1], b: { c: 1, e: 3 }, d: null, f: 5 },
  })
  assert.deepEqual(merged([1], { a: 1 }), [1])
  assert.deepEqual(merged(JSON.parse('{"__proto__": {"x": 1}}'), {}), JSON.parse('{"__proto__": {"x": 1}}'))
})
