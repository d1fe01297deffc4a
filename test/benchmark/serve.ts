import { once } from 'node:events'
import type { Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { startContentServer } from '../bench/content/content-server.ts'
import { ensureCertificates } from '../bench/hub/certs.ts'
import { fastServer, GIGABIT } from './fast-server.ts'

// Three content servers over one folder in a process of their own, so that their work counts for nobody:
// serve.js FOLDER CERTIFICATES
const [dir, certificates] = process.argv.slice(2)
if (dir === undefined || certificates === undefined) throw new Error('usage: serve.js FOLDER CERTIFICATES')
const tls = await ensureCertificates(certificates)
const faulty = await startContentServer({ dir, tls })
const fast = fastServer(dir, tls).listen(0, '0.0.0.0')
const gigabit = fastServer(dir, tls, GIGABIT).listen(0, '0.0.0.0')

process.on('message', (message: { faults?: object } | 'stats') => {
  if (message === 'stats') process.send?.({ stats: faulty.stats })
  else {
    for (const name of Object.keys(faulty.faults)) delete faulty.faults[name]
    Object.assign(faulty.faults, message.faults)
    process.send?.({})
  }
})
// With its parent it ends too.
process.on('disconnect', () => process.exit())
await Promise.all([fast, gigabit].map(server => once(server, 'listening')))
const url = (server: Server): string => `https://localhost:${(server.address() as AddressInfo).port}/`
process.send?.({ faulty: faulty.url(''), fast: url(fast), gigabit: url(gigabit) })
