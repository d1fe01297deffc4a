// `npm run docs`: writes what of the documentation is made from the code.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { COMPLETION_FILE, completion } from '../../image/builder/completion.ts'
import { MAN_PAGE, manPage } from '../../image/builder/man-page.ts'
import { PICTURE, picture } from './lights-picture.ts'
import { currentPage, PAGES } from './table.ts'

for (const page of PAGES) writeFileSync(page.path, currentPage(page))
writeFileSync(MAN_PAGE, manPage())
mkdirSync(dirname(COMPLETION_FILE), { recursive: true })
writeFileSync(COMPLETION_FILE, completion())
writeFileSync(PICTURE, picture())
