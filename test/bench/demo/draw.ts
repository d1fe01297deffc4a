import { styleText } from 'node:util'
import { onOneLine } from '../../../src/domain/terminal.ts'
import { DARK, litAt, PATTERNS } from '../../../src/lights/patterns.ts'
import type { SlotName } from '../workbench/boot-env.ts'
import { mib, type Phase, positionOf, type Scene } from './scene.ts'

export type Style = Parameters<typeof styleText>[0]
export type Paint = (style: Style, text: string) => string

export const painter = (colours: boolean): Paint =>
  colours ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text

export interface Canvas {
  readonly columns: number
  readonly rows: number
  readonly paint: Paint
  /** Milliseconds since the epoch. */
  readonly now: number
}

const INDENT = '  '
const MIN_WIDTH = 60
const MAX_WIDTH = 100
const SPINNER = [...'⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏']

/** The scene as lines of text, none wider than the terminal; as many of them from the first moment to the last. */
export function draw(scene: Scene, canvas: Canvas): string {
  const width = Math.max(MIN_WIDTH, Math.min(MAX_WIDTH, canvas.columns - 1)) - INDENT.length
  // Blank lines between the parts, if there is room.
  const air = canvas.rows >= scene.phases.length + 18 ? [''] : []
  const lines = [
    title(scene, canvas, width),
    '',
    ...scene.phases.map(phase => phaseLine(phase, canvas, width)),
    '',
    progress(scene, canvas, width),
    ...air,
    ...slots(scene, canvas, width),
    ...air,
    lights(scene, canvas),
    ...twin(scene, canvas, width),
  ]
  return lines.map(line => `${INDENT}${line}`.trimEnd()).join('\n')
}

function title(scene: Scene, { paint, now }: Canvas, width: number): string {
  const left = scene.act ? `${scene.title} · ${scene.act}` : scene.title
  const clock = seconds(now - scene.begun)
  return `${paint('bold', fit(left, width - clock.length))}${paint('dim', clock)}`
}

function phaseLine(phase: Phase, { paint, now }: Canvas, width: number): string {
  const { state, note } = phase
  const mark = {
    'to come': () => paint('dim', '·'),
    now: () => paint('cyanBright', SPINNER[Math.floor(now / 80) % SPINNER.length]!),
    done: () => paint('greenBright', '✔'),
    failed: () => paint('redBright', '✘'),
  }[state]()
  const time = state === 'to come' ? '' : seconds((state === 'now' ? now : phase.ended) - phase.begun)
  const text = fit(note ? `${phase.title}: ${note}` : phase.title, width - 12)
  const style: Style = state === 'to come' ? 'dim' : state === 'now' ? 'bold' : 'reset'
  return `${mark}  ${style === 'reset' ? text : paint(style, text)}${time.padStart(9)}`
}

function progress({ transfer, power }: Scene, { paint, now }: Canvas, width: number): string {
  if (!transfer) return ''
  const { size, fetched, begun, ended } = transfer
  const position = positionOf(transfer)
  const part = position / size
  const rate = fetched / Math.max(0.1, ((ended ?? now) - begun) / 1000)
  const remaining = Math.ceil((size - position) / Math.max(1, rate))
  const left = part < 1 && !ended && power && now - begun > 1500 && remaining < 1000 ? `  ${remaining} s left` : ''
  const figures = `${String(Math.floor(part * 100)).padStart(4)} %  ${mib(position).padStart(5)} of ${mib(size)} MiB  ${mib(rate).padStart(5)} MiB/s`
  const room = Math.max(0, width - figures.length - 12)
  const full = part * room
  const bar = '█'.repeat(Math.floor(full)) + (full % 1 >= 0.5 ? '▌' : '')
  const colour: Style = part === 1 ? 'greenBright' : ended || !power ? 'redBright' : 'cyanBright'
  return `${paint(colour, bar)}${paint('dim', '░'.repeat(room - bar.length))}${figures}${paint('dim', left)}`
}

function slots(scene: Scene, { paint }: Canvas, width: number): string[] {
  const left = Math.floor((width - 2) / 2)
  const box = (slot: SlotName, outer: number): string[] => {
    const inner = outer - 4
    const isBooted = scene.power && scene.booted === slot
    const colour: Style = isBooted ? 'greenBright' : isWriting(scene, slot) ? 'cyanBright' : 'dim'
    const edge = (text: string) => paint(colour, text)
    const name = ` slot ${slot} `
    return [
      edge(`╭─${name}${'─'.repeat(outer - name.length - 3)}╮`),
      `${edge('│')} ${paint('bold', fit(contentOf(scene, slot), inner))} ${edge('│')}`,
      `${edge('│')} ${fit(stateOf(scene, slot), inner)} ${edge('│')}`,
      edge(`╰${'─'.repeat(outer - 2)}╯`),
    ]
  }
  const [a, b] = [box('a', left), box('b', width - 2 - left)]
  return a.map((line, index) => `${line}  ${b[index]}`)
}

const isWriting = ({ transfer, power }: Scene, slot: SlotName): boolean =>
  power && transfer?.into === slot && transfer.ended === undefined

function contentOf(scene: Scene, slot: SlotName): string {
  const { transfer, versions } = scene
  if (transfer?.into === slot && positionOf(transfer) < transfer.size)
    return transfer.ended ? 'half a system' : 'half a system …'
  const version = versions[slot]
  return version === undefined ? 'empty' : `system ${version}`
}

function stateOf(scene: Scene, slot: SlotName): string {
  const { booted, primary, trial, power } = scene
  if (isWriting(scene, slot)) return '▾ writing'
  const words = [
    booted === slot && power && '● booted',
    primary === slot && trial === 'pending' && (booted === slot ? '◐ on trial' : '◐ next, on trial'),
    primary === slot && trial !== 'pending' && '▸ primary',
    trial === 'failed' && primary !== slot && '✘ failed its trial',
  ]
  return words.filter(Boolean).join('   ') || '–'
}

function lights(scene: Scene, { paint, now }: Canvas): string {
  const lit = scene.power && scene.mood ? litAt(PATTERNS[scene.mood.name], now - scene.mood.since) : DARK
  const dot = (on: boolean, style: Style) => (on ? paint(style, '●') : paint('dim', '○'))
  const said = scene.power ? (scene.mood?.name ?? '') : 'no power'
  return `${label('LEDs', paint)}${dot(lit.status, 'greenBright')} green  ${dot(lit.fault, 'redBright')} red    ${paint('dim', said)}`
}

const STATES: Readonly<Record<number, string>> = { 0: 'idle', 6: 'in progress', 255: 'failed' }

function twin({ twin: shown }: Scene, { paint }: Canvas, width: number): string[] {
  const { state, resultCode, extended, installed, details } = shown
  const room = width - LABEL_WIDTH
  const link = shown.connected ? 'connected' : 'not connected'
  const result =
    state === undefined ? 'no report yet' : `state ${state} (${STATES[state]}), result ${resultCode}, ${extended}`
  const rest = fit(` · ${result}${installed && ` · ${installed}`}`, room - link.length)
  const rows = wrap(details, room).slice(0, 2)
  return [
    `${label('Twin', paint)}${paint(shown.connected ? 'greenBright' : 'yellowBright', link)}${rest}`,
    ...[0, 1].map(row => `${' '.repeat(LABEL_WIDTH)}${rows[row] ?? ''}`),
  ]
}

const LABEL_WIDTH = 7
const label = (text: string, paint: Paint) => paint('dim', text.padEnd(LABEL_WIDTH))

/** Exactly `width` columns: cut, or filled with spaces. */
export function fit(text: string, width: number): string {
  const characters = [...onOneLine(text)]
  const line = characters.length > width ? `${characters.slice(0, width - 1).join('')}…` : characters.join('')
  return line.padEnd(width)
}

export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of onOneLine(text).split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word.slice(0, width))
  }
  return lines
}

export const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`
