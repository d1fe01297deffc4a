'use strict'
// Leads TLS connections to the cloud's host name to the local bench, so that programs with unmodified SDKs and the connection
// strings of the cloud can be tried here: NODE_OPTIONS="--require …/preload.cjs". The bench is the one that `scripts/bench up`
// started in this checkout, or the one that PI_ADU_BENCH tells: '{"host":…,"names":[…],"ports":{"443":…,"8883":…},"caFile":…}', or the name
// of a file with this JSON. Both `https` and the MQTT client end in `tls.connect`.
const { existsSync, readFileSync } = require('node:fs')
const { join } = require('node:path')
const tls = require('node:tls')

const usual = join(__dirname, '../../.bench/hub/bench.json')
const given = process.env.PI_ADU_BENCH || (existsSync(usual) ? usual : undefined)
if (given) {
  const bench = JSON.parse(given.trimStart().startsWith('{') ? given : readFileSync(given, 'utf8'))
  const ca = readFileSync(bench.caFile, 'utf8')
  const connect = tls.connect
  const names = [bench.host, ...(bench.names ?? [])]

  tls.connect = (...args) => {
    // The forms are (options), (port, options), (port, host, options), each with an optional callback.
    const [options] = args.filter(arg => typeof arg === 'object' && arg !== null)
    const callback = args.find(arg => typeof arg === 'function')
    const port = typeof args[0] === 'number' ? args[0] : options?.port
    const host = typeof args[1] === 'string' ? args[1] : options?.host
    // A connection string with GatewayHostName goes to the bench by itself, and only lacks the bench's CA.
    if (host === 'localhost' && Number(port) === bench.ports[8883])
      return connect({ ...options, port, host, ca: options?.ca ?? ca }, callback)
    const local = bench.ports[port]
    if (!names.includes(host) || local === undefined || options?.socket) return connect(...args)
    const servername = options?.servername || host
    return connect({ ...options, ca: options?.ca ?? ca, servername, host: '127.0.0.1', port: local }, callback)
  }
  require('node:module').syncBuiltinESMExports()
}
