/** Style of the local page and of the bench's page. */
export const STYLE = `:root { color-scheme: light dark; --line: #8886; --lit: #18a957; --bad: #c62828 }
* { box-sizing: border-box }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
[hidden] { display: none !important }
h1 { font-size: 1.4rem; margin: 0 }
h2 { font-size: 1rem; margin: 1.2rem 0 .3rem }
header { display: flex; gap: 1rem; align-items: baseline; flex-wrap: wrap }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin-bottom: 1rem }
.trouble { color: var(--bad); font-weight: 600 }
.stale .now { opacity: .4 }
.light { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: center; margin: .8rem 0 }
.lamp { display: inline-flex; align-items: center; gap: .4rem }
.lamp i { width: 1.3rem; height: 1.3rem; border-radius: 50%; border: 2px solid var(--line) }
.lamp.lit i { background: var(--lit); border-color: var(--lit); box-shadow: 0 0 .5rem var(--lit) }
.light svg { width: 15rem; height: .8rem }
.light rect { fill: var(--lit) }
.means { flex-basis: 100% }
progress { width: 100%; height: 1.2rem }
.slots { display: flex; gap: .8rem; flex-wrap: wrap; margin-top: .8rem }
.slots > div { flex: 1 1 14rem; border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .8rem }
.slots .booted { border: 2px solid var(--lit) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .8rem 0 0 }
dt { opacity: .7 }
dd { margin: 0; overflow-wrap: anywhere }
ol { list-style: none; margin: 0; padding: 0; font-size: .9rem; overflow-wrap: anywhere }
time { opacity: .7; margin-right: .8rem; font-variant-numeric: tabular-nums }
form, .buttons { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: 1rem 0 }
button, input { font: inherit; padding: .35rem .7rem }
output { flex-basis: 100%; font-weight: 600 }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr } dd { margin-bottom: .4rem } }
`
