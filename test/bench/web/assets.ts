import { CARD } from '../../../src/page/assets/card.ts'

export const HTML = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bench</title>
<link rel="stylesheet" href="/style.css">
<script src="/script.js" defer></script>
<main id="devices"></main>
<noscript>This page needs JavaScript. scripts/bench status shows the same.</noscript>
`

/** Script of the bench's page, for browsers: a card and buttons for each device. */
export const SCRIPT = `${CARD}
const BUTTONS = {
  deploy: ['Deploy the next version', '/deploy'],
  cancel: ['Cancel', '/cancel'],
  cut: ['Cut the power', '/power'],
  on: ['Switch on', '/power'],
}
const devices = new Map()
const made = id => {
  const card = new Card()
  const buttons = el('div', '', 'buttons')
  const output = el('output')
  const each = new Map(Object.entries(BUTTONS).map(([name, [text, path]]) => {
    const button = el('button', text)
    button.addEventListener('click', async () => {
      button.disabled = true
      await post(path, { device: id, how: name }, output)
      button.disabled = false
    })
    return [name, button]
  }))
  buttons.append(...each.values(), output)
  card.root.append(buttons)
  document.getElementById('devices').append(card.root)
  return { card, each }
}
follow(states => {
  for (const [id, { card }] of devices) if (!states.some(state => state.id === id)) {
    card.root.remove()
    devices.delete(id)
  }
  for (const { id, card: shown, trouble, can } of states) {
    if (!devices.has(id)) devices.set(id, made(id))
    const { card, each } = devices.get(id)
    card.show(shown)
    if (trouble) card.lost(trouble)
    for (const [name, button] of each) button.hidden = !can.includes(name)
  }
}, () => { for (const { card } of devices.values()) card.lost('no connection to the bench') })
`
