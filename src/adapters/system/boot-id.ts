import { readFile } from 'node:fs/promises'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/**
 * Names the running boot of the machine. The kernel command line also distinguishes boots, for the workbench, where the kernel's
 * boot id does not change. Never rejects.
 */
export async function bootIdOf(kernelCommandLine: string): Promise<string> {
  const parts = [BOOT_ID, kernelCommandLine].map(file => readFile(file, 'utf8').catch(() => ''))
  return (await Promise.all(parts)).join(' ').trim()
}
