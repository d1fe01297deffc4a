import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'

export type Board = 'virt' | 'raspi3b'

/** How long an answer of a shell may take to come whole before it is asked for again. */
const TORN_MS = 20_000

export interface MachineOptions {
  readonly board: Board
  /** Raw disk image; on raspi3b its size must be a power of two. */
  readonly disk: string
  /** The folder `qemu` beside the image, with U-Boot and device tree. */
  readonly firmware: string
  /** For sockets and the serial log; the log is appended to. */
  readonly dir: string
  /** Where every write to the disk is logged, in its order (QEMU's blklogwrites); virt only. */
  readonly writeLog?: string
  /** What the wire is plugged into: a backend of QEMU's `-netdev`, without its id, which is `net`; virt only. */
  readonly wire?: string
  /** Further arguments of QEMU. */
  readonly more?: readonly string[]
}

/** QEMU's arguments for a board that boots `disk` through U-Boot; serial, monitor and display are not among them. */
export function boardArguments(options: Omit<MachineOptions, 'dir'>): string[] {
  const { board, disk, firmware, writeLog, wire = 'user', more = [] } = options
  if (board === 'virt') {
    return [
      // One core: each further one costs more of a small machine than it gives. The Pi has its four.
      ...['-M', 'virt,acpi=off', '-cpu', 'cortex-a53', '-smp', '1', '-m', '1024'],
      ...['-bios', join(firmware, 'u-boot-virt.bin')],
      ...(writeLog === undefined ? ['-drive', `file=${disk},format=raw,if=none,id=disk`] : logged(disk, writeLog)),
      ...['-device', 'virtio-blk-pci,drive=disk'],
      ...['-netdev', `${wire},id=net`, '-device', 'virtio-net-pci,netdev=net,romfile=', '-device', 'virtio-rng-pci'],
      ...['-device', 'i6300esb', '-action', 'watchdog=reset'],
      ...more,
    ]
  }
  return [
    // With a thread for each of its four cores this board is several times slower on a small machine.
    ...['-M', 'raspi3b', '-accel', 'tcg,thread=single'],
    ...['-kernel', join(firmware, 'u-boot-rpi.bin'), '-dtb', join(firmware, 'bcm2837-rpi-3-b.dtb')],
    ...['-drive', `file=${disk},format=raw,if=sd`, '-netdev', 'user,id=net', '-device', 'usb-net,netdev=net'],
    ...more,
  ]
}

/** Starts QEMU. It ends with this process, however that ends. */
export const startQemu = (argv: readonly string[], stdio: StdioOptions): ChildProcess =>
  spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-aarch64', ...argv], { stdio })

const logged = (disk: string, log: string): string[] => [
  ...[
    '-blockdev',
    `driver=file,filename=${disk},node-name=file`,
    '-blockdev',
    `driver=file,filename=${log},node-name=log`,
  ],
  ...['-blockdev', 'driver=blklogwrites,file=file,log=log,node-name=disk'],
]

/** An emulated board that is switched on. It goes off when this process ends. */
export class Machine {
  readonly #child: ChildProcess
  readonly #monitor: string
  #serial: Socket | undefined
  #text = ''
  #complaint = ''
  #ended = false
  #listeners = new Set<() => void>()
  readonly startedAt = performance.now()

  private constructor(child: ChildProcess, monitor: string) {
    this.#child = child
    this.#monitor = monitor
    child.once('exit', () => {
      this.#ended = true
      this.#tell()
    })
  }

  static async start(options: MachineOptions): Promise<Machine> {
    const { dir, board } = options
    await mkdir(dir, { recursive: true })
    const [serial, monitor] = [join(dir, 'serial.sock'), join(dir, 'monitor.sock')]
    await Promise.all([serial, monitor].map(path => rm(path, { force: true })))
    const child = startQemu(
      [
        ...boardArguments(options),
        ...['-display', 'none', '-monitor', `unix:${monitor},server=on,wait=off`],
        ...[
          '-chardev',
          `socket,id=serial,path=${serial},server=on,wait=on,logfile=${join(dir, 'serial.log')},logappend=on`,
        ],
        // On a Pi, U-Boot's banner appears on the other UART.
        ...(board === 'raspi3b' ? ['-serial', `file:${join(dir, 'uart0.log')}`] : []),
        ...['-serial', 'chardev:serial'],
      ],
      ['ignore', 'ignore', 'pipe'],
    )
    const machine = new Machine(child, monitor)
    child.stderr?.on('data', chunk => {
      machine.#complaint += chunk
    })
    for (let tries = 0; !machine.#serial; tries++) {
      if (machine.#ended || tries > 300) throw new Error(`QEMU did not start: ${machine.#complaint.trim()}`)
      machine.#serial = await open(serial)
      if (!machine.#serial) await sleep(50)
    }
    machine.#serial.on('data', chunk => {
      machine.#text += chunk.toString('latin1')
      machine.#tell()
    })
    machine.#serial.on('error', () => {})
    return machine
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Everything received on the serial line since the start. */
  get serial(): string {
    return this.#text
  }

  /** A place in the serial text, to wait from. */
  get now(): number {
    return this.#text.length
  }

  /** Resolves with the first match after `from`. Errors: timeout, or the machine ended; with the last lines. */
  async waitFor(pattern: RegExp, timeoutMs: number, from = 0): Promise<RegExpMatchArray & { readonly end: number }> {
    return this.waitUntil(
      String(pattern),
      text => {
        const match = pattern.exec(text)
        return match && Object.assign(match as RegExpMatchArray, { end: from + match.index + match[0].length })
      },
      timeoutMs,
      from,
    )
  }

  /** Resolves with what `find` finds in the text after `from`. Errors: as `waitFor`; `what` names it. */
  async waitUntil<T>(what: string, find: (text: string) => T | null, timeoutMs: number, from = 0): Promise<T> {
    const limit = performance.now() + timeoutMs
    for (;;) {
      const found = find(this.#text.slice(from))
      if (found !== null) return found
      const left = limit - performance.now()
      if (left <= 0 || this.#ended) {
        const why = this.#ended ? `the machine ended: ${this.#complaint.trim()}` : `not within ${timeoutMs / 1000} s`
        throw new Error(`${what} did not come over the serial line: ${why}; the last was:\n${this.#text.slice(-1500)}`)
      }
      await this.#news(left)
    }
  }

  send(text: string): void {
    this.#serial?.write(text)
  }

  /** Waits for the root shell of the dev variant and prepares it for use by a program. */
  async login(timeoutMs: number, from = 0): Promise<void> {
    const { end } = await this.waitFor(/root@[a-z0-9-]+:/, timeoutMs, from)
    this.send(
      'set +H; stty -echo; export PS1= PS2= SYSTEMD_PAGER=cat TERM=dumb; bind "set enable-bracketed-paste off"; echo line is rea""dy\n',
    )
    await this.waitFor(/line is ready/, timeoutMs, end)
  }

  /**
   * Runs a command in the root shell of the dev variant. The kernel and the agent write to the same line at any moment, so the output
   * is kept in a file there and told in one word with its checksum, again until it comes whole.
   */
  async shell(command: string, timeoutMs = 120_000): Promise<{ readonly code: number; readonly output: string }> {
    const limit = performance.now() + timeoutMs
    this.send(`{ ${command}\n} >/run/told 2>&1; echo $? >/run/code\n`)
    for (let patience = TORN_MS; ; patience *= 2) {
      const mark = `m${Math.random().toString(36).slice(2, 10)}`
      const from = this.now
      this.send(
        `echo ${mark}''= $(cat /run/code) $(sha256sum </run/told | cut -c1-64) $(base64 -w0 /run/told) ${mark}''.\n`,
      )
      const ends = (text: string): true | null => (text.includes(`${mark}.`) ? true : null)
      // Its own end can be torn too. A command that runs for long has not been asked yet.
      const left = Math.max(1, Math.min(patience, limit - performance.now()))
      await this.waitUntil('the end of a command', ends, left, from).catch(error => {
        if (this.#ended || performance.now() >= limit) throw error
      })
      const answer = new RegExp(`${mark}= (\\d+) ([0-9a-f]{64}) ([\\w+/=]*) ?${mark}\\.`).exec(this.#text.slice(from))
      if (!answer) continue
      const output = Buffer.from(answer[3] ?? '', 'base64')
      if (createHash('sha256').update(output).digest('hex') !== answer[2]) continue
      return { code: Number(answer[1]), output: stripVTControlCharacters(output.toString()).replaceAll('\r', '') }
    }
  }

  /** One command of QEMU's monitor. */
  async monitor(command: string): Promise<string> {
    const socket = await open(this.#monitor)
    if (!socket) throw new Error('QEMU has no monitor')
    let text = ''
    const prompts = (): number => text.split('(qemu) ').length - 1
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
    })
    const until = async (count: number): Promise<void> => {
      for (let tries = 0; prompts() < count && tries < 500; tries++) await sleep(20)
    }
    await until(1)
    socket.write(`${command}\n`)
    await until(2)
    socket.destroy()
    // The monitor echoes each key with escape codes that redraw the line.
    const lines = text
      .split('\n')
      .slice(1)
      .map(line => stripVTControlCharacters(line).replaceAll('\r', ''))
    return lines
      .filter(line => !line.startsWith('(qemu)'))
      .join('\n')
      .trim()
  }

  /** Pulls the plug. Nothing runs any more when this resolves. */
  async powerCut(): Promise<void> {
    if (this.#ended) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }

  #news(timeoutMs: number): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => {
        clearTimeout(timer)
        this.#listeners.delete(done)
        resolve()
      }
      const timer = setTimeout(done, timeoutMs)
      this.#listeners.add(done)
    })
  }
}

function open(path: string): Promise<Socket | undefined> {
  return new Promise(resolve => {
    const socket = connect(path)
    socket.once('connect', () => resolve(socket))
    socket.once('error', () => resolve(undefined))
  })
}
