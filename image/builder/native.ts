import { createRequire } from 'node:module'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { repositoryRoot } from './repository.ts'
import { run } from './run.ts'

const COMPILE = [
  'aarch64-linux-gnu-g++',
  '-shared',
  '-fPIC',
  '-O2',
  '-s',
  '-w',
  '-std=c++17',
  '-static-libstdc++',
] as const
const OPTIONS = ['-DNODE_GYP_MODULE_NAME=epoll', '-DBUILDING_NODE_EXTENSION', '-D_GNU_SOURCE', '-Wl,--build-id=none']

/** `epoll.node`, the native part of onoff, for arm64 and the image's Node, whose headers are in `parts`. */
export function buildNative(parts: string): Promise<string> {
  const require = createRequire(join(repositoryRoot(), 'package.json'))
  const at = (name: string): string => join(require.resolve(`${name}/package.json`), '..')
  const versions = ['epoll', 'nan'].map(name => require(`${name}/package.json`).version)
  // The program contains names of source files; with absolute paths its bytes would depend on the build folder.
  const names = { [parts]: 'parts', [at('nan')]: 'nan', [at('epoll')]: 'epoll' }
  return cached('native', [versions, parts, COMPILE, OPTIONS, Object.values(names)], async dir => {
    const include = [join(parts, 'libnode-dev/usr/include/node'), join(parts, 'libuv1-dev/usr/include'), at('nan')]
    await run([
      ...COMPILE,
      ...OPTIONS,
      ...Object.entries(names).map(([path, name]) => `-ffile-prefix-map=${path}=${name}`),
      ...include.map(path => `-I${path}`),
      join(at('epoll'), 'src/epoll.cc'),
      ...['-o', join(dir, 'epoll.node')],
    ])
  })
}
