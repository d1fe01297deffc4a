import { CARD } from './card.ts'

/** Script of the local page, for browsers. */
export const SCRIPT = `${CARD}
const card = new Card()
document.getElementById('devices').append(card.root)
const form = document.getElementById('orders')
follow(state => {
  document.title = state.host + ': ' + state.light.mood
  form.hidden = !state.pin
  document.getElementById('readonly').hidden = state.pin
  form.querySelector('button').disabled = !state.consent
  card.show(state)
}, () => card.lost('no connection to the agent'))
form.addEventListener('submit', event => {
  event.preventDefault()
  const { pin } = form.elements
  post(event.submitter.getAttribute('formaction'), { pin: pin.value }, form.querySelector('output'))
  pin.value = ''
})
`
