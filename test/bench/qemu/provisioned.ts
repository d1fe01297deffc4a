import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { MachineOptions } from '../../../image/qemu/machine.ts'
import type { Bench } from '../bench.ts'
import { Issuer } from '../dps/authority.ts'
import { GUEST_VIEW } from '../hub/certs.ts'
import { treeWithSerial } from './device-tree.ts'

/** The registration id of a board, by the pattern that its configuration holds. */
export const idOfBoard = (serial: string): string => `pi-${serial}`.toLowerCase()

/** The same for every board of a batch. */
const provisioningOf = ({ hub }: Bench) => ({
  idScope: hub.provisioning.idScope,
  host: `${GUEST_VIEW}:${hub.mqttPort}`,
  registrationId: 'pi-{serial}',
  certFile: '/data/adu/device.pem',
  keyFile: '/data/adu/device.key',
  caFile: '/data/adu/hub-ca.pem',
})

/**
 * An enrollment group that assigns its devices to the bench's hub as guests see it, and a certificate of the group for this
 * board: the files for its card, and its section `piAdu.provisioning`.
 */
export async function enrolledBoard(bench: Bench, serial: string, dir: string) {
  const { hub } = bench
  const group = 'boards'
  const root = await Issuer.open(join(dir, 'factory'), 'Factory')
  hub.provisioning.linkHub({ ...hub.assignable, name: 'guests', address: `${GUEST_VIEW}:${hub.mqttPort}` })
  hub.provisioning.enrollGroup({
    enrollmentGroupId: group,
    iotHubs: ['guests'],
    attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate: root.certificate } } } },
  })
  const { cert, key } = await root.issue(idOfBoard(serial))
  return { files: { 'device.pem': cert, 'device.key': key }, provisioning: provisioningOf(bench) }
}

/** QEMU's arguments that give the emulated board its serial number. */
export async function serialArguments(
  machine: Pick<MachineOptions, 'disk' | 'firmware' | 'dir'>,
  serial: string,
): Promise<readonly string[]> {
  await mkdir(machine.dir, { recursive: true })
  const path = join(machine.dir, 'board.dtb')
  await writeFile(path, await treeWithSerial(machine, path, serial))
  return ['-dtb', path]
}
