import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Labels of the chip with the BCM lines: Pi 0 to 3, Pi 4, Pi 5. */
const BCM_CHIPS = ['pinctrl-bcm2835', 'pinctrl-bcm2711', 'pinctrl-rp1']

/** The sysfs number of a BCM pin. Kernels number lines from the chip's base, which is 512 on current ones. */
export async function globalNumber(pin: number, folder = '/sys/class/gpio'): Promise<number> {
  const read = (chip: string, file: string): Promise<string> => readFile(join(folder, chip, file), 'utf8')
  const chips = (await readdir(folder)).filter(name => name.startsWith('gpiochip'))
  for (const chip of chips) {
    if (!BCM_CHIPS.includes((await read(chip, 'label')).trim())) continue
    if (pin >= Number(await read(chip, 'ngpio'))) throw new Error(`this board has no GPIO ${pin}`)
    return Number(await read(chip, 'base')) + pin
  }
  throw new Error(`no Raspberry Pi GPIO chip in ${folder}`)
}
