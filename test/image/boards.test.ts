import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Kernel, missingDrivers, readBoards } from '../../image/builder/boards.ts'
import { readDeviceTree } from '../../image/builder/device-tree.ts'
import { blobOf, type Tree } from './tree.ts'

const kernel: Kernel = {
  modulesFor: modalias =>
    ({
      'of:Cmmc': ['mmc'],
      'of:Cregulator': ['regulator'],
      'of:Cclock': ['clock'],
      'platform:bcm2835-wdt': ['wdt'],
      'mdio:00000000000000000000000011111111': ['phy'],
    })[modalias] ??
    (/^usb:v0424pEC00d.*dcFF/.test(modalias) ? ['smsc95xx'] : /^usb:.*dc09/.test(modalias) ? ['usbcore'] : []),
  knows: compatible => ['bus', 'gpio', 'usb', 'intc'].includes(compatible),
}

const missing = (
  tree: Tree,
  initramfs: readonly string[],
  root: readonly string[] = [],
  devices: readonly string[] = [],
) => missingDrivers({ name: 'X', tree: '', devices }, readDeviceTree(blobOf(tree)), kernel, { initramfs, root })

const card = (more: Tree = {}): Tree => ({
  compatible: 'machine',
  soc: { compatible: 'bus', 'mmc@1': { compatible: 'mmc', 'vmmc-supply': [7], clocks: [8, 1, 8, 2], ...more } },
  regulator: { compatible: 'regulator', phandle: [7] },
  clock: { compatible: 'clock', phandle: [8], '#clock-cells': [1] },
})

test('what a card waits for must be in the initramfs, and come first', () => {
  assert.deepEqual(missing(card(), ['regulator', 'clock', 'mmc']), [])
  assert.deepEqual(missing(card(), ['clock', 'mmc'], ['regulator']), [
    'X: /regulator needs regulator in initramfs/modules.txt',
  ])
  assert.deepEqual(missing(card(), ['regulator', 'mmc', 'clock']), [
    'X: initramfs/modules.txt loads mmc before clock, which it needs',
  ])
  assert.deepEqual(missing(card(), []).length, 3)
})

test('a disabled device needs nothing, nor does one below a disabled node', () => {
  assert.deepEqual(missing(card({ status: 'disabled' }), []), [])
  assert.deepEqual(missing({ bus: { status: 'disabled', 'mmc@1': { compatible: 'mmc' } } }, []), [])
})

test('a device without a driver is named', () => {
  assert.deepEqual(missing({ 'ethernet@0': { compatible: 'new,thing' } }, []), [
    'X: /ethernet@0 (new,thing) has no driver in this kernel',
  ])
  assert.deepEqual(missing({}, [], [], ['platform:unknown']), ['X: platform:unknown has no driver in this kernel'])
})

test('a supplier of a supplier, an interrupt controller and a pin group count', () => {
  const tree: Tree = {
    'interrupt-parent': [3],
    'usb@1': { compatible: 'usb', interrupts: [1], 'pinctrl-0': [4] },
    intc: { compatible: 'regulator', phandle: [3], clocks: [8, 0] },
    pins: { compatible: 'new,pins', group: { phandle: [4] } },
    clock: { compatible: 'clock', phandle: [8], '#clock-cells': [1] },
  }
  assert.deepEqual([...missing(tree, [], [])].sort(), [
    'X: /clock needs clock in modules.txt',
    'X: /intc needs regulator in modules.txt',
    'X: /pins (new,pins) has no driver in this kernel',
  ])
  assert.deepEqual(
    missing({ 'pins@0': { compatible: 'gpio', 'gpio-controller': [], clocks: [9] }, ...tree }, []).length,
    3,
  )
})

test('USB devices are found by their ids', () => {
  const tree: Tree = {
    'usb@1': { compatible: 'usb', 'hub@1': { compatible: 'usb424,9514', 'ethernet@1': { compatible: 'usb424,ec00' } } },
  }
  assert.deepEqual(missing(tree, [], ['usbcore', 'smsc95xx']), [])
  assert.deepEqual(missing(tree, [], ['usbcore']), ['X: /usb@1/hub@1/ethernet@1 needs smsc95xx in modules.txt'])
})

test('the watchdog must be in the initramfs, a PHY only in the root file system', () => {
  const [board] = readBoards(['X tree platform:bcm2835-wdt phy:000000ff'])
  assert.deepEqual(missing({}, ['wdt'], ['phy'], board!.devices), [])
  assert.deepEqual(missing({}, [], ['wdt'], board!.devices), [
    'X: platform:bcm2835-wdt needs wdt in initramfs/modules.txt',
    'X: mdio:00000000000000000000000011111111 needs phy in modules.txt',
  ])
})

test('what is not a device tree is refused', () => {
  assert.throws(() => readDeviceTree(Buffer.alloc(100)), /not a device tree/)
  assert.throws(() => readDeviceTree(Buffer.alloc(3)), /not a device tree/)
})
