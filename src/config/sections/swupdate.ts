import * as v from 'valibot'
import { optional, section, setting } from '../setting.ts'
import { path, seconds, text } from '../values.ts'

export const swupdate = section({
  certificate: setting(
    path,
    '/etc/swupdate/certificate.pem',
    'PEM file with one or more certificates; bundles must be signed by one of them',
  ),
  hardware: optional(
    v.pipe(text, v.regex(/^[^:\s]+:[^:\s]+$/, 'must be like "board:revision"')),
    'from `/etc/hwrevision`',
    '`board:revision`, compared with `hardware-compatibility` in the bundle',
  ),
  keyFile: optional(
    path,
    'none',
    'AES key of [encrypted images](../bundle/README.md#encrypted-images); mode 0640 or less',
  ),
  writable: setting(
    v.array(path, 'must be a list'),
    [],
    'more files and folders that SWUpdate may write, as needed by what `piAdu.bundle.allow` allows',
  ),
  stallSeconds: setting(
    seconds,
    900,
    'time after which a SWUpdate that takes nothing, writes nothing and says nothing is ended; more than a slow card needs for one write',
  ),
  confine: setting(
    v.picklist(['auto', 'require', 'off'], 'must be auto, require or off'),
    'auto',
    'whether the kernel limits what SWUpdate may open: `auto` where the kernel can, `require` refuses to start where it cannot, `off` never',
  ),
})
