import { cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import { repositoryRoot } from './repository.ts'

/** The agent's program in its folder. */
export const PROGRAM = 'pi-adu.mjs'

/** Beside the program, not in it: `onoff` has a native part, and is loaded only where a light is configured. */
const BESIDE = ['onoff', 'epoll', 'bindings', 'file-uri-to-path', 'lodash.debounce']

/** What the Node of a device needs of the packages beside the program; sources, build files and tests stay away. */
const NEEDED = /\/(package\.json|LICENSE|[\w.-]+\.js)$/

/**
 * MQTT over WebSocket is never used, and `ws` with all it draws in would cost start time and memory
 * (measured: the SDK as installed takes 73 MB idle, one lean file 52).
 */
const withoutWebSocket: Plugin = {
  name: 'without-web-socket',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/(ws|wx|ali)$/ }, ({ path, importer }) =>
      importer.includes('/mqtt/lib/connect/') ? { path, namespace: 'stub' } : undefined,
    )
    onLoad({ filter: /.*/, namespace: 'stub' }, () => ({
      contents: "module.exports = () => { throw new Error('this build speaks MQTT over TLS only') }",
    }))
  },
}

/** One lean file of a program that uses the device SDK. */
export function bundleOptions(entry: string, outfile: string): BuildOptions {
  return {
    absWorkingDir: repositoryRoot(),
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    minify: true,
    // Names of functions and classes stay: they are in the lines of a crash.
    keepNames: true,
    legalComments: 'linked',
    // Storage is loaded by `uploadToBlob` only, which this agent never calls.
    external: [...BESIDE, '@azure/storage-blob', 'bufferutil', 'utf-8-validate'],
    plugins: [withoutWebSocket],
    // CommonJS packages inside an ES module ask for `require` and for their place.
    banner: {
      js: "import{createRequire as __require}from'node:module';const require=__require(import.meta.url),__filename=import.meta.filename,__dirname=import.meta.dirname;",
    },
    logLevel: 'warning',
  }
}

/**
 * Builds the agent into `folder`: the program, its package.json, and node_modules with what stays beside it. `onoff` comes
 * without its native part, which belongs to one architecture and one Node: see `buildNative`. Returns the program's bytes.
 */
export async function buildAgent(folder: string): Promise<number> {
  const root = repositoryRoot()
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await build(bundleOptions(join(root, 'src/main.ts'), join(folder, PROGRAM)))
  const { name, version, license, optionalDependencies } = JSON.parse(
    await readFile(join(root, 'package.json'), 'utf8'),
  )
  const own = { name, version, license, type: 'module', private: true, optionalDependencies }
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(own, null, 2)}\n`)
  await copyBeside(root, join(folder, 'node_modules'))
  return (await stat(join(folder, PROGRAM))).size
}

async function copyBeside(root: string, to: string): Promise<void> {
  const require = createRequire(join(root, 'package.json'))
  for (const name of BESIDE) {
    const from = join(require.resolve(`${name}/package.json`), '..')
    await cp(from, join(to, name), {
      recursive: true,
      filter: source => source === from || (NEEDED.test(source) && !source.slice(from.length).includes('/test')),
    })
  }
}
