// Exits with 0 when node_modules holds what package-lock.json asks for; optional packages may be missing. Compares contents,
// since a fresh checkout makes every file look new.
const { readFileSync } = require('node:fs')

const packages = file => {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return {}
  }
}
const installed = packages('node_modules/.package-lock.json')
const current = Object.entries(packages('package-lock.json')).every(
  ([path, { version, optional, devOptional }]) =>
    path === '' || (installed[path]?.version ?? ((optional || devOptional) && version)) === version,
)
process.exit(current ? 0 : 1)
