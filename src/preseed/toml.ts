import { parse, TomlError } from 'smol-toml'
import { readImagerTables } from './imager.ts'
import type { ReadToml } from './read.ts'
import { Unusable } from './wishes.ts'

/** Reads `rpi-preseed.toml` or `custom.toml`. The parser's own message quotes the line, which may have a password. Pure. */
export const readToml: ReadToml = (text, countries) => {
  try {
    return readImagerTables(parse(text), countries)
  } catch (error) {
    if (error instanceof TomlError)
      throw new Unusable(`it is not valid TOML: line ${error.line}, column ${error.column}`)
    throw error
  }
}
