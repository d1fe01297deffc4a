import { AgentError, asAgentError, ContentError, HubRejection, messageOf } from '../domain/errors.ts'
import type { Hosts } from '../domain/hosts.ts'
import { member, text } from '../domain/members.ts'
import { ercText } from '../domain/result-codes.ts'
import type { SendReport, TwinPart } from '../hub/twin-part.ts'
import type { Clock } from '../ports/clock.ts'
import type { Reported } from '../ports/hub.ts'
import type { Log } from '../ports/log.ts'
import type { LogPlace, LogUpload } from '../ports/log-upload.ts'
import { backOff } from '../timing/back-off.ts'
import { retrying } from '../timing/retrying.ts'
import { BlockBlob } from './block-blob.ts'
import { LOG_RESULT, type LogRequest, readLogRequest } from './log-request.ts'

export interface LogCollectionOptions {
  readonly enabled: boolean
  readonly hosts: Hosts
}

interface Answer {
  readonly operationId: string
  readonly resultCode: number
  readonly extendedResultCode: number
}

/**
 * Starts of one upload whose end nobody saw: after a power cut it is started over once. A third one would mean that the upload itself
 * ends the agent. Planned reboots and restarts do not count.
 */
const MOST_STARTS = 2

/** Failures of one block in a row: about two minutes, less than the bundle's programs wait for their reader. */
const MOST_FAILURES = 7

/** The file's name in the folder of the operation. */
const FILE = 'pi-adu/support.tar.gz'

/**
 * The component `diagnosticInformation`: uploads the logs when the desired properties ask for it, and reports the result. One upload at
 * a time; of the requests that come meanwhile only the newest counts. The reported result is the memory of what was answered.
 */
export class LogCollection implements TwinPart {
  readonly #device: LogUpload
  readonly #clock: Clock
  readonly #log: Log
  readonly #options: LogCollectionOptions
  readonly #signal: AbortSignal
  #send: SendReport | undefined
  /** Of the last connection: the first part of the blob's name. */
  #name = ''
  #wanted: LogRequest | undefined
  /** Of the desired properties. */
  #version: unknown
  #isRunning = false
  /** The operation whose upload has begun and has no answer. */
  #begun: { readonly operationId: string; readonly count: Promise<number> } | undefined
  #isAcknowledging = false
  #answered: string | undefined
  #acknowledged: string | undefined
  /** The hub does not have it yet. */
  #answer: Answer | undefined

  /** `signal` ends a running upload. */
  constructor(device: LogUpload, clock: Clock, log: Log, options: LogCollectionOptions, signal: AbortSignal) {
    this.#device = device
    this.#clock = clock
    this.#log = log
    this.#options = options
    this.#signal = signal
  }

  onConnected(reported: unknown, send: SendReport, name: string): void {
    const shown = member(reported, 'diagnosticInformation')
    this.#answered = this.#answer?.operationId ?? text(member(member(shown, 'agent'), 'operationId'))
    this.#acknowledged = text(member(member(member(shown, 'service'), 'value'), 'operationId'))
    this.#send = send
    this.#name = name
    void this.#tell()
  }

  onDesired(desired: unknown): void {
    this.#wanted = readLogRequest(desired, this.#options.hosts)
    if (!this.#wanted) return
    this.#version = member(desired, '$version')
    void this.#acknowledge()
    void this.#go()
  }

  onLost(): void {
    this.#send = undefined
  }

  /** The agent ends as planned, for example for the reboot of an update: a running upload starts over without limit. Never rejects. */
  async end(): Promise<void> {
    const begun = this.#begun
    if (!begun) return
    try {
      await begun.count
      await this.#device.takeBack(begun.operationId)
    } catch (error) {
      this.#log.warn('logs.start-counted', { why: messageOf(error) })
    }
  }

  async #go(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    try {
      for (let next = this.#wanted; next && next.operationId !== this.#answered; next = this.#wanted) {
        const answer = await this.#answerTo(next)
        if (this.#signal.aborted) return
        this.#begun = undefined
        this.#answered = next.operationId
        this.#answer = answer
        await this.#tell()
      }
    } finally {
      this.#isRunning = false
    }
  }

  /** Never rejects. */
  async #answerTo(request: LogRequest): Promise<Answer> {
    const { operationId, container, refused } = request
    const failed = (resultCode: number, error: AgentError): Answer => {
      const { message: why, extendedResultCode } = error
      this.#log.error('logs.not-uploaded', { operationId, why, code: ercText(extendedResultCode) })
      return { operationId, resultCode, extendedResultCode }
    }
    if (refused) return failed(refused.resultCode, refused.error)
    if (!this.#options.enabled) return failed(LOG_RESULT.off, problem('LOGS_OFF', 'piAdu.diagnostics.enabled is false'))
    if (!container) throw new Error('a request that is not refused has a container')
    try {
      const count = this.#device.begin(operationId)
      this.#begun = { operationId, count }
      if ((await count) > MOST_STARTS)
        return failed(LOG_RESULT.failed, problem('LOGS_INTERRUPTED', 'the agent ended twice during the upload'))
      this.#log.info('logs.begin', { operationId, host: container.host })
      const blob = `${this.#name}/${operationId}/${FILE}`
      const bytes = await this.#upload({ container, blob })
      this.#log.info('logs.uploaded', { operationId, bytes })
      return { operationId, resultCode: LOG_RESULT.uploaded, extendedResultCode: 0 }
    } catch (error) {
      const known = asAgentError(error)
      return failed(known.code === 'LOGS_UPLOAD' ? LOG_RESULT.uploadFailed : LOG_RESULT.failed, known)
    }
  }

  /** Resolves with the bytes of the whole file, which then replaces an earlier one. Errors: AgentError. */
  async #upload(place: LogPlace): Promise<number> {
    const open = await this.#device.open(place, this.#signal)
    const policy = {
      pause: (error: unknown, failures: number) =>
        error instanceof ContentError && error.retry === 'backOff' && failures < MOST_FAILURES
          ? backOff(failures, this.#clock)
          : undefined,
      onRetry: (error: unknown) => this.#log.warn('logs.retry', { why: messageOf(error) }),
    }
    const blob = new BlockBlob(
      (...request) => retrying(() => open.put(...request), policy, this.#clock, this.#signal),
      'application/gzip',
    )
    try {
      await this.#device.bundle(blob, this.#signal)
      return blob.bytes
    } finally {
      open.close()
    }
  }

  /**
   * One after another, so of many requests only the newest is acknowledged. Echoes the id only: the signature in the URL must not be
   * readable in the reported properties.
   */
  async #acknowledge(): Promise<void> {
    if (this.#isAcknowledging) return
    this.#isAcknowledging = true
    try {
      for (;;) {
        const operationId = this.#wanted?.operationId
        if (operationId === undefined || operationId === this.#acknowledged || typeof this.#version !== 'number') return
        this.#acknowledged = operationId
        await this.#report({ service: { value: { operationId }, ac: 200, ad: '', av: this.#version } })
      }
    } finally {
      this.#isAcknowledging = false
    }
  }

  /** Reports the answer; it is kept until the hub has it. */
  async #tell(): Promise<void> {
    const answer = this.#answer
    if (!answer) return
    if ((await this.#report({ agent: answer })) && this.#answer === answer) this.#answer = undefined
  }

  /** Whether the hub has it, or never will. */
  async #report(member: Reported): Promise<boolean> {
    try {
      if (!this.#send) return false
      await this.#send({ diagnosticInformation: { __t: 'c', ...member } })
      return true
    } catch (error) {
      this.#log.warn('logs.report-skipped', { why: messageOf(error) })
      return error instanceof HubRejection
    }
  }
}

const problem = (code: 'LOGS_OFF' | 'LOGS_INTERRUPTED', why: string): AgentError => new AgentError(code, why)
