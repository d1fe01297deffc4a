import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join, parse } from 'node:path'
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild'
import type { Component } from './inventory.ts'
import { repositoryRoot } from './repository.ts'

/** File name of the agent's program in its folder. */
export const PROGRAM = 'pi-adu.mjs'

/** File name of the step service, beside it. */
export const STEPS_PROGRAM = 'pi-adu-steps.mjs'

/** Kept outside the program: `onoff` has a native part, and is loaded only if a light is configured. */
const BESIDE = ['onoff', 'epoll', 'bindings', 'file-uri-to-path', 'lodash.debounce']

/** The files of these packages that a device needs, without sources, build files and tests. */
const NEEDED = /\/(package\.json|LICENSE|[\w.-]+\.js)$/

/**
 * The MQTT client's own connection code, with an old `ws` and its dependencies, is never used: `hub-socket.ts` opens the
 * socket and loads our `ws` only for `mqtt/ws`. Measured when idle: 73 MB with the SDK as installed, 52 MB as one lean file.
 */
const withoutOwnSockets: Plugin = {
  name: 'without-own-sockets',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/(ws|wx|ali)$/ }, ({ path, importer }) =>
      importer.includes('/mqtt/lib/connect/') ? { path, namespace: 'stub' } : undefined,
    )
    onLoad({ filter: /.*/, namespace: 'stub' }, () => ({
      contents: "module.exports = () => { throw new Error('the agent opens its socket by itself') }",
    }))
  },
}

/** Bundles a program that uses the device SDK into one lean file. */
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
    // Names of functions and classes are kept, because stack traces show them.
    keepNames: true,
    legalComments: 'linked',
    // Only `uploadToBlob` loads the storage library, and the agent never calls it.
    external: [...BESIDE, '@azure/storage-blob', 'bufferutil', 'utf-8-validate'],
    plugins: [withoutOwnSockets],
    // CommonJS packages inside an ES module need `require`, `__filename` and `__dirname`.
    banner: {
      js: "import{createRequire as __require}from'node:module';const require=__require(import.meta.url),__filename=import.meta.filename,__dirname=import.meta.dirname;",
    },
    logLevel: 'warning',
  }
}

export interface NpmPackage extends Component {
  /** On this machine. */
  readonly folder: string
}

export interface BuiltAgent {
  readonly version: string
  readonly licence: string
  /** Of the program, with all its pieces. */
  readonly bytes: number
  readonly npm: readonly NpmPackage[]
  /** Which source is in which piece, and with how many bytes. */
  readonly pieces: Metafile['outputs']
}

/** The packages that these files are from, relative to `root`. */
export async function packagesOf(root: string, files: readonly string[]): Promise<readonly NpmPackage[]> {
  const folders = new Set(files.flatMap(file => /^.*node_modules\/(@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? []))
  const packages: NpmPackage[] = []
  for (const folder of [...folders].sort()) {
    const { name, version, license } = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8'))
    const found = { kind: 'npm' as const, name, version, folder: join(root, folder) }
    packages.push({ ...found, ...(typeof license === 'string' && { licence: license }) })
  }
  return packages
}

/**
 * Builds the agent into `folder`: the program, the step service, their package.json, and node_modules with what stays outside. `onoff` lacks its
 * native part, which depends on architecture and Node version: see `buildNative`.
 */
export async function buildAgent(folder: string): Promise<BuiltAgent> {
  const root = repositoryRoot()
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const { outfile: _, ...options } = bundleOptions('', '')
  // In pieces: a process reads only what its command needs. Measured when idle: 61.0 MB, and 63.4 MB as one file.
  const { metafile } = await build({
    ...options,
    entryPoints: {
      [parse(PROGRAM).name]: join(root, 'src/main.ts'),
      [parse(STEPS_PROGRAM).name]: join(root, 'src/steps/main.ts'),
    },
    outdir: folder,
    outExtension: { '.js': parse(PROGRAM).ext },
    splitting: true,
    metafile: true,
  })
  const { name, version, license, optionalDependencies } = JSON.parse(
    await readFile(join(root, 'package.json'), 'utf8'),
  )
  const own = { name, version, license, type: 'module', private: true, optionalDependencies }
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(own, null, 2)}\n`)
  await copyBeside(root, join(folder, 'node_modules'))
  // Not what was only read, and of which nothing is used.
  const bundled = Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.keys(inputs).filter(file => inputs[file]!.bytesInOutput > 0),
  )
  const beside = BESIDE.map(package_ => `node_modules/${package_}/package.json`)
  return {
    version,
    licence: license,
    bytes: Object.values(metafile.outputs).reduce((sum, { bytes }) => sum + bytes, 0),
    npm: await packagesOf(root, [...bundled, ...beside]),
    pieces: metafile.outputs,
  }
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
