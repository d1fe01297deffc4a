/**
 * Script for browsers: draws a device, as `PageState` describes it, with text nodes only. The local page and the bench's page begin with
 * it. Its light blinks as the device's does, unless the person asked for less motion.
 */
export const CARD = `'use strict'
const el = (tag, text = '', name = '') => {
  const node = document.createElement(tag)
  node.textContent = text
  node.className = name
  return node
}
const svg = (tag, attributes) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  return node
}
const DRAWN = 6000
const still = matchMedia('(prefers-reduced-motion: reduce)').matches

class Card {
  constructor() {
    this.root = el('article', '', 'card')
    const head = el('header')
    this.name = el('h1', '…')
    this.link = el('span', 'connecting …', 'link')
    this.link.setAttribute('role', 'status')
    head.append(this.name, this.link)
    this.now = el('div', '', 'now')
    this.light = el('div', '', 'light')
    this.bar = el('div')
    this.bar.hidden = true
    this.percent = el('progress')
    this.percent.max = 100
    this.pace = el('div', '', 'pace')
    this.bar.append(this.percent, this.pace)
    this.slots = el('div', '', 'slots')
    this.lines = el('dl')
    this.title = el('h2', 'What happened')
    this.events = el('ol')
    this.now.append(this.light, this.bar, this.slots, this.lines, this.title, this.events)
    this.root.append(head, this.now)
  }

  lost(why) {
    this.root.classList.add('stale')
    this.link.textContent = why
    this.link.className = 'link trouble'
    clearTimeout(this.timer)
    this.shown = ''
    for (const lamp of this.light.querySelectorAll('.lamp')) lamp.classList.remove('lit')
  }

  show({ host, lines, slots, progress, light, events }) {
    this.root.classList.remove('stale')
    this.link.textContent = ''
    this.name.textContent = host
    if (light) this.shine(light)
    this.light.hidden = !light
    this.bar.hidden = !progress
    if (progress) {
      this.percent.value = progress.percent
      this.pace.textContent = progress.percent + ' %' + progress.text
    }
    this.slots.replaceChildren(...slots.map(({ name, text, booted }) => {
      const slot = el('div', '', booted ? 'booted' : '')
      slot.append(el('strong', name), el('div', text))
      return slot
    }))
    this.lines.replaceChildren(...lines.flatMap(([name, text]) => [el('dt', name), el('dd', text)]))
    this.title.hidden = events.length === 0
    this.events.replaceChildren(...[...events].reverse().map(({ time, text }) => {
      const event = el('li')
      event.append(el('time', time), text)
      return event
    }))
  }

  shine({ mood, means, rhythm, age, lamps }) {
    const what = JSON.stringify([mood, lamps])
    if (what === this.shown) return
    this.shown = what
    const drawn = lamps.map(({ name, plays }) => {
      const lamp = el('span', '', 'lamp')
      lamp.append(el('i'), name)
      return { lamp, plays }
    })
    const strip = svg('svg', { viewBox: '0 0 ' + DRAWN + ' 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
    for (let x = 0, i = 0; x < DRAWN; x += rhythm[i++ % rhythm.length])
      if (i % 2 === 0) strip.append(svg('rect', { x, y: 0, width: rhythm[i % rhythm.length], height: 100 }))
    const title = el('span', '', 'means')
    title.append(el('strong', mood), ': ' + means)
    this.light.replaceChildren(...drawn.map(({ lamp }) => lamp), strip, title)
    clearTimeout(this.timer)
    const set = lit => { for (const { lamp, plays } of drawn) lamp.classList.toggle('lit', lit && plays) }
    if (still) return set(true)
    const cycle = rhythm.reduce((sum, part) => sum + part, 0)
    const begun = performance.now() - age
    const step = () => {
      let left = (performance.now() - begun) % cycle
      let i = 0
      while (left >= rhythm[i]) left -= rhythm[i++]
      set(i % 2 === 0)
      this.timer = setTimeout(step, rhythm[i] - left + 1)
    }
    step()
  }
}

const follow = (onState, onLost) => {
  const source = new EventSource('/events')
  source.onmessage = ({ data }) => onState(JSON.parse(data))
  source.onerror = () => {
    onLost()
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 5000, onState, onLost)
  }
}

/* Posts a form, and says what came back. */
const post = async (path, fields, output) => {
  output.textContent = '…'
  try {
    const answer = await fetch(path, { method: 'POST', body: new URLSearchParams(fields) })
    if (answer.ok && answer.headers.has('content-disposition')) return await save(answer, output)
    output.textContent = await answer.text()
    output.className = answer.ok ? '' : 'trouble'
  } catch {
    output.textContent = 'no answer came'
    output.className = 'trouble'
  }
}
const save = async (answer, output) => {
  const link = el('a')
  link.href = URL.createObjectURL(await answer.blob())
  link.download = answer.headers.get('content-disposition').split('"')[1]
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60000)
  output.textContent = link.download
  output.className = ''
}
`
