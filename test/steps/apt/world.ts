import { mkdtemp, rm } from 'node:fs/promises'
import { after, before, type TestContext, test } from 'node:test'
import { type Package, Repository } from './repository.ts'
import { asRoot, Root } from './root.ts'

/** One repository for the tests of a file, with a root of its own for each of them. */
export class World {
  #repository: Repository | undefined
  #prefix: readonly string[] | undefined

  constructor(...packages: readonly Package[]) {
    let home: string
    before(async () => {
      this.#prefix = await asRoot()
      home = await mkdtemp('/tmp/apt-')
      this.#repository = await Repository.start(home)
      await this.#repository.publish(...packages)
    })
    after(async () => {
      await this.#repository?.stop()
      await rm(home, { recursive: true, force: true })
    })
  }

  get repository(): Repository {
    if (!this.#repository) throw new Error('the repository is there when a test runs')
    return this.#repository
  }

  /** A test. `work` may resolve with the reason why it could not do all of its work. */
  test(name: string, work: (root: Root, t: TestContext) => Promise<unknown>): void {
    test(name, async t => {
      if (!this.#prefix) return t.skip('needs root, or unshare or fakeroot for what looks like it')
      const skipped = await work(await Root.make(t, this.repository, this.#prefix), t)
      if (typeof skipped === 'string') t.skip(skipped)
    })
  }
}

/** A maintainer script that makes a file in the root's `tmp/`, and goes on when there is one called `go`. */
export const waits = (started: string): string =>
  `touch "$DPKG_ROOT/tmp/${started}"; while [ ! -e "$DPKG_ROOT/tmp/go" ]; do sleep 0.05; done`
