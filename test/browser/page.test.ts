import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { chromium, type Page } from 'playwright-core'
import { lightOf } from '../../src/page/state.ts'
import { NOTHING } from '../../src/view/view.ts'
import { guestCard } from '../bench/web/guest.ts'
import { type BenchOnPage, openWebPage } from '../bench/web/web.ts'
import { aLog } from '../control/support.ts'
import { anUpdate, aPage, PIN } from '../page/support.ts'

// The local page and the page of the bench in a real browser. To make the picture of src/page/README.md:
//   PAGE_PICTURE=src/page/page.png node --test dist/test/browser/page.test.js

const BROWSER = '/usr/bin/chromium'
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const skip = existsSync(BROWSER) ? false : 'there is no chromium here'
/** Milliseconds; a browser on a busy machine is slow. */
const PATIENCE = 120_000

/** A page in a browser of its own, what the browser complained of, and what was loaded from elsewhere than `url`. */
async function aBrowser(t: TestContext, url: string) {
  const folder = await mkdtemp(join(tmpdir(), 'browser-'))
  const browser = await chromium.launchPersistentContext(folder, {
    ...{ executablePath: BROWSER, args: FLAGS, viewport: { width: 900, height: 700 }, timeout: PATIENCE },
  })
  t.after(async () => {
    await browser.close()
    await rm(folder, { recursive: true, force: true })
  })
  const page = await browser.newPage()
  page.setDefaultTimeout(PATIENCE)
  const complaints: string[] = []
  const outside: string[] = []
  // A page has no icon, and a refused order is an answer.
  const expected = /favicon|status of (403|409)/
  page.on('console', message => {
    const text = `${message.text()} ${message.location().url}`
    if (message.type() === 'error' && !expected.test(text)) complaints.push(text)
  })
  page.on('pageerror', error => complaints.push(error.message))
  page.on('request', request => {
    if (!request.url().startsWith(url)) outside.push(request.url())
  })
  return { page, complaints, outside }
}

test('a browser shows the device, follows it, and consents with the PIN', { skip }, async t => {
  const device = await aPage(t, { piAdu: { leds: { lights: [{ led: 'ACT' }, { gpio: 27, role: 'fault' }] } } })
  const { publisher, url, dir } = device
  anUpdate(publisher)
  publisher.tell({ event: 'hub.connected' })
  publisher.tell({
    ...{
      event: 'deployment.taken',
      workflowId: '<img src=x onerror=alert(1)>',
      origin: 'deviceUpdate',
      kind: 'deploy',
    },
  })
  const { page, complaints, outside } = await aBrowser(t, url)
  await page.goto(url)

  await page.getByText('for consent to install').first().waitFor()
  assert.match(await page.title(), /: waiting for consent$/)
  assert.equal(await page.locator('.slots .booted strong').textContent(), 'slot a')
  assert.equal(await page.locator('.lamp').count(), 2)
  // What comes from outside is text.
  await page.getByText('<img src=x onerror=alert(1)>').waitFor()
  assert.equal(await page.locator('img').count(), 0)

  // The light has its rhythm: three flashes of 0.2 s, then dark.
  await page.locator('.lamp.lit').first().waitFor()
  await page.waitForFunction(() => {
    const seen = globalThis as unknown as { document: { querySelector(selector: string): unknown } }
    return seen.document.querySelector('.lamp.lit') === null
  })

  await consent(page, 'a wrong one')
  await page.getByText('the PIN is wrong').waitFor()
  await consent(page, PIN)
  await page.getByText('consented to the update till 2.0.0', { exact: true }).waitFor()
  assert.ok(existsSync(join(dir, 'consent')))

  publisher.change(view => ({
    ...view,
    ...({ phase: 'installing', waitsFor: null, writing: 'slot' } as const),
    progress: { bytes: 30 << 20, size: 100 << 20, resumed: 0, since: 0 },
  }))
  await page.getByText('30 %', { exact: false }).first().waitFor()
  await page.getByText('do not cut the power').first().waitFor()
  if (process.env.PAGE_PICTURE) await keepPicture(page, process.env.PAGE_PICTURE)
  assert.deepEqual([complaints, outside], [[], []])

  device.close()
  await page.getByText('no connection to the agent').waitFor()
  assert.equal(await page.locator('.lamp.lit').count(), 0)
})

async function consent(page: Page, pin: string): Promise<void> {
  await page.locator('input[name=pin]').fill(pin)
  await page.getByRole('button', { name: 'Consent' }).click()
}

/** With a name and an event that are the same wherever it is made. */
async function keepPicture(page: Page, path: string): Promise<void> {
  await page.locator('.lamp.lit').first().waitFor()
  await page.locator('h1').evaluate(node => {
    node.textContent = 'till-17'
  })
  await page.locator('ol').evaluate(node => {
    node.lastChild?.previousSibling?.remove()
  })
  await page.screenshot({ path, clip: { x: 0, y: 0, width: 900, height: 695 } })
}

test('nobody can show the page in a frame, and a stranger’s page cannot order', { skip }, async t => {
  const { url, lines } = await aPage(t)
  const { page } = await aBrowser(t, url)
  await page.route('http://stranger.example/', route =>
    route.fulfill({
      contentType: 'text/html',
      body: `<iframe src="${url}/"></iframe><form method=post action="${url}/consent"><input name=pin value="${PIN}"><button>x</button></form>`,
    }),
  )
  await page.goto('http://stranger.example/')
  const frame = page.frames()[1]
  assert.equal(await frame?.locator('#orders').count(), 0)
  await page.getByRole('button').click()
  await page.getByText('does not come from the page').waitFor()
  assert.ok(!lines.some(([, event]) => event === 'asked'))
})

test('the page of the bench: a card and the buttons that do something now for each device', { skip }, async t => {
  const card = guestCard('pi1', { piAdu: { format: 1, phase: 'installing', progress: 30 } })
  const light = lightOf(NOTHING, [], [], 0)
  let on = true
  let changed = (): void => {}
  const pressed: string[] = []
  const bench: BenchOnPage = {
    devices: () => [
      {
        id: 'pi1',
        card: { ...card, light },
        trouble: on ? '' : 'no power',
        can: ['deploy', 'cancel', on ? 'cut' : 'on'],
      },
      { id: 'my-pi', card: { ...card, host: 'my-pi' }, trouble: '', can: ['cancel'] },
    ],
    watch: call => {
      changed = call
      return () => {}
    },
    async press(button, id) {
      if (button === 'cancel') throw new Error('nothing is deployed')
      pressed.push(`${button} ${id}`)
      on = false
      changed()
      return 'it has no power'
    },
  }
  const over = new AbortController()
  t.after(() => over.abort())
  const url = await openWebPage(bench, '127.0.0.1', 0, aLog().log, over.signal)
  const { page, complaints, outside } = await aBrowser(t, url)
  await page.goto(url)
  const [first, second] = [page.locator('.card').nth(0), page.locator('.card').nth(1)]
  await first.getByText('30 %').waitFor()
  assert.deepEqual(await second.getByRole('button').filter({ visible: true }).allTextContents(), ['Cancel'])
  await second.getByRole('button', { name: 'Cancel' }).click()
  await second.getByText('nothing is deployed', { exact: true }).waitFor()
  await first.getByRole('button', { name: 'Cut the power' }).click()
  await first.locator('output').getByText('it has no power', { exact: true }).waitFor()
  await first.getByRole('button', { name: 'Switch on' }).waitFor()
  assert.equal(await first.locator('.lamp.lit').count(), 0)
  assert.deepEqual([pressed, complaints, outside], [['cut pi1'], [], []])
  over.abort()
  await first.getByText('no connection to the bench').waitFor()
})
