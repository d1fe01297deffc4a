import { join } from 'node:path'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { PATTERNS } from '../../src/lights/patterns.ts'

export const PICTURE = join(repositoryRoot(), 'src/lights/patterns.svg')

const SECONDS = 6
/** Pixels. */
const [ROW, NAMES, SECOND, BAR] = [26, 150, 100, 14]

/** The mood in words. */
export const wordsOf = (mood: string): string => mood.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)

/** The light patterns as bars along time. */
export function picture(): string {
  const moods = Object.entries(PATTERNS)
  const [width, height] = [NAMES + SECONDS * SECOND + 20, (moods.length + 1) * ROW + 10]
  const rows = moods.map(([mood, { rhythm, also }], row) => {
    const y = (row + 1) * ROW
    const bars = flashes(rhythm).map(
      ([from, to]) =>
        `<rect x="${NAMES + (from * SECOND) / 1000}" y="${y}" width="${((to - from) * SECOND) / 1000}" height="${BAR}" fill="${also === 'fault' ? '#d1242f' : '#1a7f37'}"/>`,
    )
    return `<text x="10" y="${y + 12}">${wordsOf(mood)}</text>${bars.join('')}`
  })
  const marks = Array.from({ length: SECONDS + 1 }, (_, second) => {
    const x = NAMES + second * SECOND
    return `<path d="M${x} 20V${height - 8}" stroke="#d0d7de"/><text x="${x}" y="14" text-anchor="middle">${second} s</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<title>Light patterns: when a status light is lit</title>
<rect width="${width}" height="${height}" fill="#fff"/>
${[...marks, ...rows].join('\n')}
</svg>
`
}

/** When it is lit, in milliseconds. */
function flashes(rhythm: readonly number[]): [number, number][] {
  const found: [number, number][] = []
  for (let [at, part] = [0, 0]; at < SECONDS * 1000; part += 1) {
    const end = at + (rhythm[part % rhythm.length] ?? 0)
    if (part % 2 === 0) found.push([at, Math.min(end, SECONDS * 1000)])
    at = end
  }
  return found
}

/** Rows of the documentation. */
export function patternsTable(): string {
  const rows = Object.entries(PATTERNS).map(([mood, { rhythm, also = '', means }]) => {
    const times = rhythm.map(each => `${each / 1000}`).join(' ')
    return `| ${wordsOf(mood)} | ${means} | ${also} | ${times} |\n`
  })
  return `| pattern | meaning | also on | seconds lit, dark, lit, … |\n|---|---|---|---|\n${rows.join('')}`
}
