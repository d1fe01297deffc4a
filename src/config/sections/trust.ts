import * as v from 'valibot'
import { optional, section, setting } from '../setting.ts'
import { flag, rootKey, text } from '../values.ts'

export const trust = section({
  rootKeys: setting(
    v.array(rootKey, 'must be a list'),
    [],
    'additional root keys, `{kid, n, e}`, for a bench; each is logged at the start',
  ),
  providers: setting(
    v.array(text, 'must be a list'),
    [],
    'the providers, as in the update id, whose updates this device accepts; set it first',
    'none: any provider',
  ),
  compatibility: setting(
    v.picklist(['enforce', 'warn', 'off'], 'must be enforce, warn or off'),
    'enforce',
    'what to do with an update whose `compatibility` does not match this device: `enforce` refuses it, `warn` logs it, `off` ignores it',
  ),
  allowDowngrade: setting(flag, true, 'whether the service may deploy an older version than the installed one'),
  minimumVersion: optional(
    v.pipe(text, v.regex(/^\d+(\.\d+){1,3}$/, 'must be 2 to 4 numbers with dots')),
    'none',
    'no version older than this is installed, whoever asks for it',
  ),
})
