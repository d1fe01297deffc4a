import type { Figures } from './figures.ts'
import { NAMES, ORDER } from './results.ts'
import { median } from './statistics.ts'

const WIDTH = 720
const LABELS = 300
const ROW = 34

/** Bars of the medians, with a dot for every round. */
export function plot({ runs: { installs } }: Figures): string {
  if (!installs) throw new Error('no installation was measured')
  const shown = ORDER.filter(name => installs[name].length > 0)
  const longest = Math.max(...shown.flatMap(name => installs[name].map(run => run.ms)))
  const x = (ms: number): number => LABELS + ((WIDTH - LABELS - 60) * ms) / longest
  const rows = shown.map((name, row) => {
    const top = row * ROW + 10
    const times = installs[name].map(run => run.ms)
    const middle = median(times)
    const dots = times.map(ms => `<circle cx="${x(ms).toFixed(1)}" cy="${top + 11}" r="3" fill="#0008"/>`)
    return `<text x="${LABELS - 8}" y="${top + 15}" text-anchor="end">${escaped(NAMES[name])}</text>
<rect x="${LABELS}" y="${top}" width="${(x(middle) - LABELS).toFixed(1)}" height="22" fill="${name === 'agent' ? '#2a7' : '#9ab'}"/>
${dots.join('')}<text x="${(x(Math.max(...times)) + 8).toFixed(1)}" y="${top + 15}">${(middle / 1000).toFixed(2)} s</text>`
  })
  const height = shown.length * ROW + 16
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13">
<title>Seconds for one installation</title>
<rect width="100%" height="100%" fill="#fff"/>
${rows.join('\n')}
</svg>
`
}

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
