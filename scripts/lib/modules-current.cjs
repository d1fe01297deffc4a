// Exits with 0 if node_modules has the packages of package-lock.json; optional ones may be missing. Compares contents, because all
// files of a fresh checkout have a new time.
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
