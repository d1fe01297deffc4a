/** Size of a character, in pixels. */
const CELL = { width: 8.4, height: 17 }
const PAD = 18

const COLOURS: Readonly<Record<number, string>> = { 91: '#ff7b72', 92: '#56d364', 93: '#e3b341', 96: '#56d4dd' }

interface Run {
  readonly text: string
  readonly at: number
  readonly colour: string
  readonly bold: boolean
}

/** An SVG of `text` as a terminal shows it, for the README. */
export function svgOf(text: string, title: string): string {
  const lines = text.trimEnd().split('\n').map(runs)
  const columns = Math.max(...lines.map(line => Math.max(0, ...line.map(run => run.at + run.text.length))))
  const width = Math.ceil(columns * CELL.width + 2 * PAD)
  const height = lines.length * CELL.height + 2 * PAD
  const drawn = lines.flatMap((line, row) =>
    line.map(run => {
      const x = (PAD + run.at * CELL.width).toFixed(1)
      const y = PAD + row * CELL.height + 13
      const weight = run.bold ? ' font-weight="bold"' : ''
      // The length is explicit, because fonts differ in the width of some characters.
      const length = (run.text.length * CELL.width).toFixed(1)
      return `<text x="${x}" y="${y}" fill="${run.colour}"${weight} textLength="${length}" lengthAdjust="spacingAndGlyphs">${escaped(run.text)}</text>`
    }),
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<title>${escaped(title)}</title>
<rect width="${width}" height="${height}" rx="10" fill="#0d1117"/>
<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14" xml:space="preserve">
${drawn.join('\n')}
</g>
</svg>
`
}

/** Parts of a line with one style each (ECMA-48, SGR). */
function runs(line: string): Run[] {
  const found: Run[] = []
  let at = 0
  let style = { colour: '#e6edf3', bold: false }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what we look for
  for (const part of line.split(/(\u001b\[\d+m)/)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what we look for
    const code = /^\u001b\[(\d+)m$/.exec(part)?.[1]
    if (code !== undefined) style = styled(style, Number(code))
    // Spaces become positions, because SVG renderers may collapse them.
    for (const text of code === undefined ? part.split(/( {2,}|^ | $)/) : []) {
      if (text.trim() !== '') found.push({ text, at, ...style })
      at += text.length
    }
  }
  return found
}

function styled(style: { colour: string; bold: boolean }, code: number): { colour: string; bold: boolean } {
  if (code === 0 || code === 39) return { ...style, colour: '#e6edf3' }
  if (code === 1) return { ...style, bold: true }
  if (code === 2) return { ...style, colour: '#6e7681' }
  if (code === 22) return { colour: '#e6edf3', bold: false }
  return { ...style, colour: COLOURS[code] ?? style.colour }
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
