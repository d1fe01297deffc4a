#!/usr/bin/node
// An example of an owner's handler (src/steps/own/README.md): flashes a microcontroller over a serial line.
// Protocol of the line, one line each way: VERSION -> VERSION n; BEGIN size -> READY or BUSY; DATA base64 -> OK;
// END sha256 -> DONE or ERROR why.
import { execFileSync } from 'node:child_process'
import { constants, openSync, readFileSync, readSync, statSync, writeSync } from 'node:fs'

const TRY_AGAIN = 75
const BLOCK = 512
const PATIENCE_MS = 2000

const say = message => writeSync(1, `${JSON.stringify(message)}\n`)
const result = (resultCode, resultDetails = '') =>
  say({ result: { resultCode, extendedResultCode: resultCode === 0 ? 0x32200001 : 0, resultDetails } })
const sleep = ms => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

/** A serial device; or, to try it out, a folder with two FIFOs. */
function openLine(port) {
  const open = path => openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY)
  if (statSync(port).isDirectory()) return { input: open(`${port}/from-device`), output: open(`${port}/to-device`) }
  execFileSync('stty', ['-F', port, '115200', 'raw', '-echo'])
  const both = open(port)
  return { input: both, output: both }
}

/** Sends a line, and waits for the line that answers it. */
function ask({ input, output }, text) {
  writeSync(output, `${text}\n`)
  const piece = Buffer.alloc(256)
  let answer = ''
  for (let waited = 0; waited < PATIENCE_MS; waited += 5) {
    try {
      answer += piece.toString('latin1', 0, readSync(input, piece))
      if (answer.endsWith('\n')) return answer.trim()
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
      sleep(5)
    }
  }
  throw new Error(`no answer to ${text.split(' ')[0]} in ${PATIENCE_MS} ms`)
}

function isInstalled({ properties, installedCriteria }) {
  const version = ask(openLine(properties.port), 'VERSION').replace('VERSION ', '')
  say({ log: `the microcontroller has version ${version}` })
  result(version === installedCriteria ? 900 : 901)
}

function install({ properties, files: [{ path, sizeInBytes, sha256 }] }) {
  const line = openLine(properties.port)
  if (ask(line, `BEGIN ${sizeInBytes}`) === 'BUSY') {
    say({ log: 'the microcontroller is busy' })
    process.exit(TRY_AGAIN)
  }
  const image = readFileSync(path)
  for (let at = 0; at < image.length; at += BLOCK) {
    ask(line, `DATA ${image.toString('base64', at, at + BLOCK)}`)
    say({ progress: Math.floor((100 * Math.min(at + BLOCK, image.length)) / image.length) })
  }
  const end = ask(line, `END ${sha256}`)
  if (end === 'DONE') result(600)
  else result(0, `the microcontroller refused the image: ${end}`)
}

const request = JSON.parse(readFileSync(0, 'utf8'))
try {
  if (request.verb === 'isInstalled') isInstalled(request)
  if (request.verb === 'install') install(request)
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}
