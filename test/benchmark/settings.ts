import { readFile, writeFile } from 'node:fs/promises'
import type { Rig } from './rig.ts'

/** Runs with these settings of `piAdu`, by section, and with the others again afterwards. */
export async function withSettings<T>(
  { device }: Rig,
  settings: Readonly<Record<string, object>>,
  run: () => Promise<T>,
): Promise<T> {
  const before = await readFile(device.config, 'utf8')
  const config = JSON.parse(before)
  for (const [name, section] of Object.entries(settings)) config.piAdu[name] = { ...config.piAdu[name], ...section }
  await writeFile(device.config, JSON.stringify(config))
  try {
    return await run()
  } finally {
    await writeFile(device.config, before)
  }
}
