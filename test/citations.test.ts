import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../image/builder/repository.ts'

const root = repositoryRoot()

/** Source texts, with the comment marks at line starts removed: a citation may go over two lines. */
const sources = ['src', 'image', 'test', 'scripts'].flatMap(folder =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && !/\.(md|svg)$/.test(entry.name) && !entry.name.startsWith('citations.'))
    .map(entry => {
      const file = join(entry.parentPath, entry.name)
      return { file: file.slice(root.length + 1), text: readFileSync(file, 'utf8').replace(/\n\s*(\*|\/\/|#) ?/g, ' ') }
    }),
)

const headings = [...readFileSync(join(root, 'src/hub/PROTOCOL.md'), 'utf8').matchAll(/^#+ (.+)$/gm)].map(
  ([, heading = '']) => heading,
)

const cited = sources.flatMap(({ file, text }) => [
  ...[...text.matchAll(/PROTOCOL\.md, ("[^"]+"(?: and "[^"]+")*)/g)].flatMap(([, list = '']) =>
    [...list.matchAll(/"([^"]+)"/g)].map(([, heading = '']) => ({ file, heading })),
  ),
  // The table of faults names in its last column what each of them shows.
  ...(file === 'test/bench/hub/faults.ts'
    ? [...text.matchAll(/\| `\w+` \|[^|]+\| ([^|]+) \|/g)].flatMap(([, list = '']) =>
        list.split(', ').map(heading => ({ file, heading })),
      )
    : []),
])

test('every heading of PROTOCOL.md that a comment cites exists, once', () => {
  assert.ok(cited.length > 70, `${cited.length} citations found`)
  assert.ok(cited.filter(({ file }) => file === 'test/bench/hub/faults.ts').length >= 10)
  assert.deepEqual(
    cited.filter(({ heading }) => !headings.includes(heading)),
    [],
  )
  assert.deepEqual(
    headings.filter((heading, index) => headings.indexOf(heading) < index),
    [],
  )
})

// A number says nothing, and is wrong as soon as somebody adds a paragraph. RFCs never change: theirs are sections.
test('no source cites a chapter, a rule or a decision by its number', () => {
  for (const { file, text } of sources) {
    assert.doesNotMatch(text, /\b(chapters?|rules?|decisions?) \d/i, file)
  }
})
