import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'

/** What goes wrong with it. */
export interface Faults {
  /** So often it is busy. */
  busy?: number
  /** It stores something else than it was sent. */
  corrupt?: boolean
  /** It answers no DATA. */
  deaf?: boolean
}

/** A microcontroller at the other end of a serial line, which is a folder with two FIFOs. */
export class Microcontroller {
  readonly port: string
  readonly faults: Faults = {}
  /** The version is the first line of its image. */
  image = Buffer.from('1\n')
  /** Every line that it got, without data. */
  readonly heard: string[] = []
  #incoming = Buffer.alloc(0)
  #unread = ''
  #descriptors: readonly number[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(port: string) {
    this.port = port
  }

  async start(): Promise<this> {
    await mkdir(this.port)
    const fifos = ['to-device', 'from-device'].map(name => join(this.port, name))
    execFileSync('mkfifo', fifos)
    await Promise.all(fifos.map(fifo => chmod(fifo, 0o666)))
    await chmod(this.port, 0o755)
    // Open for both directions: neither waits for the other end, and none sees it end.
    const open = (name: string): number => openSync(join(this.port, name), constants.O_RDWR | constants.O_NONBLOCK)
    const [input, output] = [open('to-device'), open('from-device')]
    this.#descriptors = [input, output]
    this.#timer = setInterval(() => this.#read(input, output), 2)
    return this
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const each of this.#descriptors) closeSync(each)
  }

  #read(input: number, output: number): void {
    const piece = Buffer.alloc(4096)
    try {
      this.#unread += piece.toString('latin1', 0, readSync(input, piece))
    } catch {
      return
    }
    const lines = this.#unread.split('\n')
    this.#unread = lines.pop() ?? ''
    for (const line of lines) {
      const [word = '', value = ''] = line.split(' ')
      this.heard.push(word)
      const answer = this.#answer(word, value)
      if (answer !== undefined) writeSync(output, `${answer}\n`)
    }
  }

  #answer(word: string, value: string): string | undefined {
    const { busy = 0, corrupt, deaf } = this.faults
    if (word === 'VERSION') return `VERSION ${this.image.toString().split('\n')[0]}`
    if (word === 'BEGIN') {
      this.#incoming = Buffer.alloc(0)
      this.faults.busy = busy - 1
      return busy > 0 ? 'BUSY' : 'READY'
    }
    if (word === 'DATA') {
      this.#incoming = Buffer.concat([this.#incoming, Buffer.from(value, 'base64')])
      return deaf ? undefined : 'OK'
    }
    if (corrupt) this.#incoming[0] = 0
    if (createHash('sha256').update(this.#incoming).digest('hex') !== value) return 'ERROR checksum'
    this.image = this.#incoming
    return 'DONE'
  }
}
