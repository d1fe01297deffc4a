import { AptWorker } from './apt/worker.ts'
import { OwnWorker } from './own/worker.ts'
import { ScriptWorker } from './script/worker.ts'
import type { Workers } from './worker.ts'

/** Who carries out which kind of work. */
export const WORKERS: Workers = { apt: new AptWorker(), script: new ScriptWorker(), own: new OwnWorker() }
