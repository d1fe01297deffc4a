import { readFile } from 'node:fs/promises'

/** Of a CMS signature that OpenSSL verifies (crypto/swupdate_cms_verify_openssl.c). */
const CMS = 'opensslCMS'

/**
 * Options with which the SWUpdate in the file `program` verifies CMS signatures. One that is built with several providers takes the first, which
 * on Debian since 2026.05 reads raw RSA keys and crashes on a certificate. `--help` does not list the providers, and a trial start
 * with a wrong one crashes, so this looks for the name in the program. Empty for one that has no choice.
 */
export async function providerOptions(program: string): Promise<readonly string[]> {
  const code = await readFile(program).catch(() => Buffer.alloc(0))
  return ['digest-provider', CMS].every(name => code.includes(`${name}\0`)) ? ['--digest-provider', CMS] : []
}
