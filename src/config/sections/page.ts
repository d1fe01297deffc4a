import { isIP } from 'node:net'
import * as v from 'valibot'
import { optional, section, setting } from '../setting.ts'
import { text, whole } from '../values.ts'

const ADDRESS = 'must be an IP address of this device, or "0.0.0.0" or "::" for all of them'
const PIN = 'must have 6 to 32 characters: letters, digits and signs, without spaces'
const NAME = 'must be a list of host names in small letters, without a port'

export const page = section({
  address: optional(
    v.pipe(
      text,
      v.check(each => isIP(each) !== 0, ADDRESS),
    ),
    'no page',
    'IP address of this device on which the [local page](../page/README.md) listens; `0.0.0.0` for all of them, `::` for those of IPv6 too',
  ),
  port: setting(whole(1024, 65_535), 8480, 'its port'),
  pin: optional(
    v.pipe(v.string(PIN), v.regex(/^[\x21-\x7e]{6,32}$/, PIN)),
    'the page is read-only',
    'opens consent and the support bundle on the page',
  ),
  names: setting(
    v.array(v.pipe(v.string(NAME), v.regex(/^[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?$/, NAME)), NAME),
    [],
    'names by which browsers may reach it, beside its IP addresses, `localhost` and the host name (also with `.local`)',
  ),
})
