const WIDTH = 760
const HEIGHT = 150
const LEFT = 50
const GAP = 46

export interface Series {
  readonly title: string
  /** Requests in each second. */
  readonly counts: readonly number[]
  readonly peak: number
}

/** Requests per second over time, one picture above the other, all to one scale. */
export function histogram(series: readonly Series[]): string {
  const seconds = Math.max(...series.map(({ counts }) => counts.length))
  const most = Math.max(...series.flatMap(({ counts }) => counts))
  const step = (WIDTH - LEFT - 10) / seconds
  const rows = series.map(({ title, counts, peak }, index) => {
    const base = (index + 1) * (HEIGHT + GAP) - GAP / 2
    const bars = counts.map((count, second) => {
      const height = (HEIGHT * count) / most
      const x = (LEFT + second * step).toFixed(1)
      return `<rect x="${x}" y="${(base - height).toFixed(1)}" width="${Math.max(step - 1, 0.5).toFixed(1)}" height="${height.toFixed(1)}"/>`
    })
    return `<text x="${LEFT}" y="${base - HEIGHT - 6}" font-weight="bold">${title}: at most ${peak} requests in one second</text>
<g fill="#27a">${bars.join('')}</g><path d="M${LEFT} ${base}H${WIDTH - 10}" stroke="#888"/>
<text x="${LEFT - 6}" y="${base}" text-anchor="end">0</text><text x="${LEFT - 6}" y="${base - HEIGHT + 10}" text-anchor="end">${most}</text>
<text x="${LEFT}" y="${base + 14}">0 s</text><text x="${WIDTH - 10}" y="${base + 14}" text-anchor="end">${seconds} s</text>`
  })
  const height = series.length * (HEIGHT + GAP) + 4
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">
<title>Requests per second of a fleet that takes a deployment</title>
<rect width="100%" height="100%" fill="#fff"/>
${rows.join('\n')}
</svg>
`
}
