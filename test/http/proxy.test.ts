import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createTlsServer } from 'node:https'
import { connect, createServer as createTcpServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { runProgram } from '../bench/workbench/program.ts'
import { certificates, download, good, serve } from './network.ts'

interface Proxy {
  readonly options: { readonly httpProxy: string; readonly httpsProxy: string; readonly noProxy: readonly string[] }
  readonly asked: string[]
}

/** A proxy for CONNECT, under the name `localhost`. */
async function aProxy(t: TestContext): Promise<Proxy> {
  const asked: string[] = []
  const sockets = new Set<Socket>()
  const server = createTcpServer(socket => {
    sockets.add(socket.on('error', () => {}))
    socket.once('data', head => {
      const [, host = '', port = ''] = /^CONNECT \[?(.*?)\]?:(\d+) HTTP/.exec(head.toString()) ?? []
      asked.push(head.toString())
      const target = connect(Number(port), host === '::1' ? '::1' : '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
        socket.pipe(target).pipe(socket)
      })
      sockets.add(target.on('error', () => socket.destroy()))
    })
  })
  const url = `http://me:50%25off@localhost:${await serve(t, server)}`
  t.after(() => {
    for (const each of sockets) each.destroy()
  })
  return { options: { httpProxy: url, httpsProxy: url, noProxy: [] }, asked }
}

/** For `localhost` only, which is the proxy's name. */
async function proxysCertificate(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'proxy-'))
  t.after(() => rm(dir, { recursive: true }))
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
  const made = ['-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert]
  await runProgram(['openssl', 'req', '-x509', ...made, '-subj', '/CN=x', '-addext', 'subjectAltName=DNS:localhost'])
  return { key: await readFile(key), cert: await readFile(cert), ca: await readFile(cert, 'utf8') }
}

test('https://ADDRESS through a proxy: a certificate for that address is accepted', async t => {
  const proxy = await aProxy(t)
  const port = await serve(t, createTlsServer(certificates, good))
  const end = await download(`https://127.0.0.1:${port}/file`, proxy.options)
  assert.equal(end.whole, true, end.message)
  assert.match(proxy.asked[0] ?? '', /^CONNECT 127\.0\.0\.1:\d+ HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\n/)
  assert.match(proxy.asked[0] ?? '', new RegExp(`Basic ${Buffer.from('me:50%off').toString('base64')}\r\n`))
})

for (const host of ['127.0.0.1', 'files.test']) {
  test(`https://${host} through a proxy: a certificate for the proxy's name is refused`, async t => {
    const own = await proxysCertificate(t)
    const proxy = await aProxy(t)
    const port = await serve(t, createTlsServer(own, good))
    const { ca } = own
    const end = await download(`https://${host}:${port}/file`, { ...proxy.options, ca })
    assert.equal(end.whole, false)
    assert.match(end.message, /its certificate is not accepted: the certificate is for other names/)
    // The same server under the name that its certificate is for.
    const named = await download(`https://localhost:${port}/file`, { ...proxy.options, ca })
    assert.equal(named.whole, true, named.message)
  })
}

test('a name is asked of the proxy, and of the certificate', async t => {
  const proxy = await aProxy(t)
  const port = await serve(t, createTlsServer(certificates, good))
  assert.equal((await download(`https://content.bench.local:${port}/file`, proxy.options)).whole, true)
  assert.match(proxy.asked[0] ?? '', /^CONNECT content\.bench\.local:/)
})
