import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { build } from 'esbuild'
import { bundleOptions } from '../../image/builder/agent-bundle.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { type AgentOptions, forget, startAgent } from './agent-run.ts'
import { DEVICE, type Rig } from './rig.ts'

/** The bare client in the same shape as the agent: one lean file, or as built. */
export async function bareClient(rig: Rig, bundled: boolean): Promise<string> {
  const built = join(repositoryRoot(), 'dist/test/benchmark/bare-client.js')
  if (!bundled) return built
  const file = join(rig.dir, 'bare-client.mjs')
  await build(bundleOptions(built, file))
  return file
}

/** Milliseconds from the start of the process to "the twin was read". */
export async function startBareClient(rig: Rig, program: string, nodeArguments: readonly string[]): Promise<number> {
  const begun = performance.now()
  const argv = [...nodeArguments, program, rig.bench.hub.deviceConnectionString(DEVICE), rig.caFile]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  await Promise.race([
    once(child.stdout, 'data'),
    exit.then(() => {
      throw new Error('the bare client ended before it had the twin')
    }),
  ])
  const ms = performance.now() - begun
  child.kill()
  await exit
  await rig.bench.hub.waitForDisconnected(DEVICE)
  return ms
}

export async function startAgentOnce(rig: Rig, options: AgentOptions): Promise<number> {
  await forget(rig)
  const agent = await startAgent(rig, options)
  await agent.kill()
  await rig.bench.hub.waitForDisconnected(DEVICE)
  return agent.connectedAfter
}
