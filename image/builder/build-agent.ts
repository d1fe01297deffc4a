import { join } from 'node:path'
import { buildAgent, PROGRAM } from './agent-bundle.ts'
import { repositoryRoot } from './repository.ts'

const folder = join(repositoryRoot(), 'dist/bundle')
const { bytes } = await buildAgent(folder)
console.log(`dist/bundle/${PROGRAM}: ${(bytes / 1000).toFixed(0)} KB`)
