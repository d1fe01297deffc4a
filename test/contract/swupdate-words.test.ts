import assert from 'node:assert/strict'
import test from 'node:test'
import { type Context, failure, wordReader } from '../../src/adapters/swupdate/words.ts'

// Lines as SWUpdate 2022.12 (Debian 12) and 2024.12 (Debian 13) print them.

const context: Context = {
  ...{ argv: ['swupdate'], selection: 'stable,b', device: '/dev/pi-adu/b', inlet: 'pi-adu/b' },
  ...{ keyFile: '/data/adu/swupdate.key', encrypted: false },
}
const log = { debug() {}, info() {}, warn() {}, error() {} }

const cases: readonly [what: string, lines: readonly string[], more: Partial<Context>, says: string, code?: string][] =
  [
    [
      'the line of libconfig, and not its consequences',
      [
        './sw-description 4 syntax error ./sw-description:4 - syntax error',
        '[ERROR] : SWUPDATE failed [1] JSON File corrupted',
        '[ERROR] : SWUPDATE failed [0] ERROR : no parser available to parse sw-description!',
        '[ERROR] : SWUPDATE failed [1] Image invalid or corrupted. Not installing ...',
      ],
      {},
      'swupdate failed: sw-description, line 4: syntax error',
    ],
    [
      'no key',
      [
        '[ERROR] : SWUPDATE failed [0] ERROR : no key provided for decryption!',
        '[ERROR] : SWUPDATE failed [0] ERROR : Error streaming system.enc',
      ],
      { keyFile: undefined, encrypted: true },
      'swupdate failed: system.enc is encrypted, and this device has no key for it: set piAdu.swupdate.keyFile',
    ],
    [
      'another key, 2022',
      [
        '[ERROR] : SWUPDATE failed [0] ERROR : Final: Decryption error 0x1c800064, reason: bad decrypt',
        '[ERROR] : SWUPDATE failed [0] ERROR : Error streaming system.enc',
      ],
      { encrypted: true },
      'swupdate failed: system.enc cannot be decrypted: it was encrypted with another key than /data/adu/swupdate.key (piAdu.swupdate.keyFile) holds',
    ],
    [
      'another key, 2024',
      ['[ERROR] : SWUPDATE failed [0] ERROR stream_interface.c : extract_files : 319 : Error streaming system.enc'],
      { encrypted: true },
      'swupdate failed: system.enc cannot be decrypted: it was encrypted with another key than /data/adu/swupdate.key (piAdu.swupdate.keyFile) holds',
    ],
    [
      'a device that is full',
      [
        '[ERROR] : SWUPDATE failed [0] ERROR : cannot write 16203 bytes: No space left on device',
        '[ERROR] : SWUPDATE failed [0] ERROR : Error streaming system.gz',
      ],
      {},
      'system.gz does not fit into the slot /dev/pi-adu/b',
      'SPACE',
    ],
    [
      'a temporary folder that is full, which is not the slot',
      ['[ERROR] : SWUPDATE failed [0] ERROR : cannot write 16203 bytes: No space left on device'],
      {},
      'swupdate failed: cannot write 16203 bytes: No space left on device',
    ],
    [
      'no key for an encrypted image (2026.05)',
      [
        '[ERROR] : SWUPDATE failed [0] ERROR swupdate_decrypt_openssl.c : openssl_DECRYPT_init : 60 : no key or iv provided for decryption!',
        '[ERROR] : SWUPDATE failed [0] ERROR stream_interface.c : extract_files : 352 : Error streaming system.enc',
        '[ERROR] : SWUPDATE failed [1] Error happened. Not installing ...',
      ],
      { encrypted: true },
      'swupdate failed: system.enc is encrypted, and this device has no key for it: set piAdu.swupdate.keyFile',
    ],
    [
      'sockets that cannot be created (2026.05)',
      [
        '[ERROR] : SWUPDATE failed [0] ERROR progress_thread.c : progress_bar_thread : 415 : Error creating IPC socket /run/swupdate/swupdateprog, exiting.',
      ],
      {},
      "swupdate failed: it cannot create its sockets: Debian's SWUpdate since 2026.05 has them in /run/swupdate, which must exist and belong to the agent's user",
    ],
    [
      'its own words, each once',
      ['[ERROR] : SWUPDATE failed [0] ERROR : one', '[ERROR] : SWUPDATE failed [0] ERROR : one', '[ERROR] : two'],
      {},
      'swupdate failed: one | two',
    ],
  ]
for (const [what, lines, more, says, code = 'SWUPDATE_FAILED'] of cases) {
  test(`a failed installation says: ${what}`, () => {
    const errors: string[] = []
    const reader = wordReader(errors, log)
    reader.add(Buffer.from(`${lines.join('\n')}\n`))
    reader.end()
    const error = failure(undefined, errors, { ...context, ...more }, '')
    assert.equal(error.message, says)
    assert.equal(error.code, code)
  })
}

test('a SWUpdate that says why it cannot start and then crashes has failed; one that says nothing was killed', () => {
  const errors: string[] = []
  const reader = wordReader(errors, log)
  const line = '[ERROR] : SWUPDATE failed [0] ERROR decrypt_keys.c : set_aes_key : 100 : Invalid decrypt_keys length\n'
  reader.add(Buffer.from(line))
  const said = failure({ signal: 'SIGSEGV' }, errors, { ...context, keyFile: '/k' }, '')
  assert.equal(said.code, 'SWUPDATE_FAILED')
  assert.match(said.message, /^swupdate failed: \/k .* is not an AES key/)
  const silent = failure({ signal: 'SIGSEGV' }, [], context, '')
  assert.deepEqual([silent.code, silent.message], ['CHILD_KILLED', 'swupdate was killed by SIGSEGV'])
})
