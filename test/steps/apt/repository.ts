import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import { execa } from 'execa'

/** A small package. Maintainer scripts are shell text; they find the root in `$DPKG_ROOT`, because nothing is chrooted. */
export interface Package {
  readonly name: string
  readonly version: string
  /** Further lines of the control file: `Depends: foo`. */
  readonly control?: readonly string[]
  readonly scripts?: Readonly<Partial<Record<'preinst' | 'postinst' | 'prerm' | 'postrm', string>>>
  /** Bytes of its one file. */
  readonly size?: number
  /** As `Installed-Size` has it, in KiB. */
  readonly installed?: number
}

const CODENAME = 'workbench'

/** A signed repository with packages of its own, served over HTTP by this process. */
export class Repository {
  readonly #folder: string
  readonly #architecture: string
  readonly #packages = new Map<string, { readonly fields: string }>()
  readonly #files = new Map<string, Buffer>()
  readonly #server: Server
  /** Further lines of its Release file, such as `Origin: Debian`. */
  release: readonly string[] = []
  /** Paths that end so are gone: 404. */
  readonly gone: string[] = []

  private constructor(folder: string, architecture: string) {
    this.#folder = folder
    this.#architecture = architecture
    this.#server = createServer((request, response) => {
      const path = decodeURIComponent(request.url ?? '')
      const content = this.gone.some(end => path.endsWith(end)) ? undefined : this.#files.get(path)
      response.writeHead(content ? 200 : 404, { 'content-length': content?.length ?? 0 })
      response.end(request.method === 'HEAD' ? undefined : content)
    })
  }

  /** `folder` must be short: gpg-agent has its socket in there. */
  static async start(folder: string, architecture?: string): Promise<Repository> {
    const repository = new Repository(folder, architecture ?? (await debianArchitecture()))
    await mkdir(repository.#gpgHome, { recursive: true, mode: 0o700 })
    await repository.#gpg('--passphrase', '', '--quick-gen-key', 'workbench', 'ed25519', 'sign', 'never')
    await repository.#gpg('--output', repository.key, '--export')
    await new Promise<void>(resolve => repository.#server.listen(0, '127.0.0.1', resolve))
    return repository
  }

  async stop(): Promise<void> {
    await execa('gpgconf', ['--kill', 'all'], { env: { GNUPGHOME: this.#gpgHome }, reject: false })
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  get key(): string {
    return join(this.#folder, 'key.gpg')
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The line for sources.list. */
  get source(): string {
    return `deb [signed-by=${this.key}] ${this.url} ${CODENAME} main`
  }

  /** Adds packages, and signs the new list. */
  async publish(...packages: readonly Package[]): Promise<void> {
    for (const each of packages) await this.#build(each)
    await this.#sign()
  }

  /** Adds a package that exists as a file. */
  async publishFile(file: string): Promise<void> {
    const { stdout } = await execa('dpkg-deb', ['--field', file])
    this.#add(`pool/${basename(file)}`, `${stdout}\n`, readFileSync(file))
    await this.#sign()
  }

  async #sign(): Promise<void> {
    const list = Buffer.from([...this.#packages.values()].map(({ fields }) => fields).join('\n'))
    const architecture = this.#architecture
    const path = `main/binary-${architecture}/Packages`
    const release = [
      ...this.release,
      ...[`Suite: ${CODENAME}`, `Codename: ${CODENAME}`, 'Components: main', `Architectures: ${architecture} all`],
      `Date: ${new Date().toUTCString().replace('GMT', 'UTC')}`,
      ...['SHA256:', ` ${sha256(list)} ${list.length} ${path}`, ''],
    ]
    await writeFile(join(this.#folder, 'Release'), release.join('\n'))
    const signed = join(this.#folder, 'InRelease')
    await this.#gpg('--yes', '--clearsign', '--output', signed, join(this.#folder, 'Release'))
    this.#files.set(`/dists/${CODENAME}/InRelease`, readFileSync(signed))
    this.#files.set(`/dists/${CODENAME}/${path}`, list)
  }

  /** Changes a package after its hash was signed. */
  spoil(name: string): void {
    for (const [path, content] of this.#files) {
      if (!path.startsWith(`/pool/${name}_`)) continue
      const spoilt = Buffer.from(content)
      spoilt.writeUInt8(spoilt.readUInt8(spoilt.length - 1) ^ 1, spoilt.length - 1)
      this.#files.set(path, spoilt)
    }
  }

  async #build({ name, version, control = [], scripts = {}, size = 1000, installed = 10 }: Package): Promise<void> {
    const tree = join(this.#folder, 'tree')
    await rm(tree, { recursive: true, force: true })
    await mkdir(join(tree, 'DEBIAN'), { recursive: true })
    await mkdir(join(tree, 'usr/share', name), { recursive: true })
    await chmod(join(tree, 'DEBIAN'), 0o755)
    await writeFile(join(tree, 'usr/share', name, 'data'), Buffer.alloc(size, version))
    const fields = [
      ...[`Package: ${name}`, `Version: ${version}`, 'Architecture: all', 'Maintainer: Workbench <w@example.test>'],
      ...[`Installed-Size: ${installed}`, ...control, 'Description: of the workbench', ''],
    ].join('\n')
    await writeFile(join(tree, 'DEBIAN/control'), fields)
    for (const [script, text] of Object.entries(scripts)) {
      await writeFile(join(tree, 'DEBIAN', script), `#!/bin/sh\nset -e\n${text}\n`, { mode: 0o755 })
    }
    const file = join(this.#folder, 'package.deb')
    await execa('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, file])
    this.#add(`pool/${name}_${version.replace(':', '%3a')}_all.deb`, fields, readFileSync(file))
  }

  #add(path: string, fields: string, content: Buffer): void {
    const entry = [`Filename: ${path}`, `Size: ${content.length}`, `SHA256: ${sha256(content)}`, '']
    this.#packages.set(path, { fields: fields + entry.join('\n') })
    this.#files.set(`/${path}`, content)
  }

  get #gpgHome(): string {
    return join(this.#folder, 'gpg')
  }

  async #gpg(...options: readonly string[]): Promise<void> {
    await execa('gpg', ['--batch', '--quiet', '--no-tty', ...options], { env: { GNUPGHOME: this.#gpgHome } })
  }
}

const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex')

let architecture: Promise<string> | undefined
export function debianArchitecture(): Promise<string> {
  architecture ??= execa('dpkg', ['--print-architecture']).then(({ stdout }) => stdout.trim())
  return architecture
}
