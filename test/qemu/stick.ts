import assert from 'node:assert/strict'
import { join } from 'node:path'
import { run } from '../../image/builder/run.ts'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'

/** A stick of 8 MiB is plugged in, with what `prepare` has written to its file; resolves when it is known why it cannot be used. */
export async function refusalOf(
  guest: Guest,
  dir: string,
  name: string,
  prepare: (file: string) => Promise<unknown>,
): Promise<string> {
  const machine = guest.machine!
  const file = join(dir, `${name}.img`)
  await run(['truncate', '-s', '8M', file])
  await prepare(file)
  const from = machine.now
  await machine.monitor(`drive_add 0 if=none,id=${name},file=${file},format=raw,readonly=on`)
  await machine.monitor(`device_add usb-storage,bus=usb.0,drive=${name},id=${name}`)
  return (await guest.waitForEvent('stick.refused', BOOT_MS, { from })).why
}

/** Resolves when nothing of the stick is left. */
export async function pull(guest: Guest, name: string): Promise<void> {
  const machine = guest.machine!
  const from = machine.now
  await machine.monitor(`device_del ${name}`)
  await guest.waitForEvent('stick.away', BOOT_MS, { from })
  const left = (await machine.shell('grep -c /run/stick /proc/mounts; ls -A /run/stick')).output.trim()
  assert.equal(left, '0')
}
