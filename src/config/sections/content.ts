import { optional, section, setting } from '../setting.ts'
import { hosts, path, seconds, whole } from '../values.ts'

const FIRST_RANGE = 1 << 20
const MOST_RANGE = 16 << 20

export const content = section({
  allowedHosts: setting(
    hosts,
    ['*'],
    'hosts that deployments may be downloaded from; `*` is every public host. Add a server in a private network: `["*", "files.local"]`. Also possible: `*.example.com`, `10.1.2.3`, `10.0.0.0/8`, hosts with a port',
  ),
  caFile: optional(path, 'none', "an additional certificate authority for downloads, beside Node's list"),
  rangeBytes: optional(
    whole(4096, 100_000_000),
    String(FIRST_RANGE),
    'bytes per request; if not set, it grows to at most 16 MiB where 1 MiB takes less than 0.1 s',
  ),
  stallSeconds: setting(
    seconds,
    60,
    'time without a byte after which the connection is given up and the download resumed',
  ),
  maxBytesPerSecond: optional(
    whole(1024, 1_000_000_000),
    'no limit',
    'highest average speed of the download of a bundle',
  ),
})

/** Bytes per request: at first, and at most where the network is fast. */
export const rangesOf = ({ rangeBytes }: { readonly rangeBytes?: number }) => ({
  rangeBytes: rangeBytes ?? FIRST_RANGE,
  mostRangeBytes: rangeBytes ?? MOST_RANGE,
})
