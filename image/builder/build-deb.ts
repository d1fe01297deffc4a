import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { version as ownVersion } from '../../src/cli/version.ts'
import { UsageError } from '../../src/domain/errors.ts'
import { buildDeb } from './deb.ts'
import { failInOneLine } from './failure.ts'
import { commitTime, repositoryRoot } from './repository.ts'

failInOneLine('build-deb')
const { values } = parseArgs({
  options: {
    version: { type: 'string', default: ownVersion() },
    maintainer: { type: 'string', default: maintainerOf(process.env) },
    output: { type: 'string', default: join(repositoryRoot(), 'dist/deb') },
  },
})
const { version, maintainer } = values
// Debian Policy, 5.6.12; without epoch and revision.
if (!/^\d[A-Za-z0-9.+~]*$/.test(version)) throw new UsageError(`--version ${version} is not a version for Debian`)
if (!/^[^<>\n]+ <[^<>\s]+@[^<>\s]+>$/.test(maintainer))
  throw new UsageError('--maintainer must be like "Contoso <pi@contoso.example>"')
const output = resolve(values.output)
await mkdir(output, { recursive: true })
const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? commitTime())
console.log(await buildDeb({ version, maintainer, epoch, output }))

/** As Debian's own tools have it. */
function maintainerOf({
  DEBFULLNAME = 'The pi-adu-agent authors',
  DEBEMAIL = 'root@localhost',
}: NodeJS.ProcessEnv): string {
  return `${DEBFULLNAME} <${DEBEMAIL}>`
}
