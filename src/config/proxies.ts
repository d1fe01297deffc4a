import { ConfigError } from '../domain/errors.ts'
import { webUrl } from '../domain/web-url.ts'

export interface Proxies {
  readonly httpProxy: string | undefined
  readonly httpsProxy: string | undefined
  readonly noProxy: readonly string[]
}

/** The documentation of the environment variables, in Markdown. */
export const VARIABLES: readonly { readonly name: string; readonly of: keyof Proxies; readonly meaning: string }[] = [
  {
    name: 'http_proxy',
    of: 'httpProxy',
    meaning:
      'environment variable: proxy for downloads from `http://` URLs; `http://[user:password@]host:port`, with `%25` for `%` in a password; in the image, set it in a drop-in of `pi-adu-agent.service`',
  },
  {
    name: 'https_proxy',
    of: 'httpsProxy',
    meaning:
      'the same for `https://` URLs and for the hub, by CONNECT; if that fails, the agent connects to the hub directly',
  },
  {
    name: 'no_proxy',
    of: 'noProxy',
    meaning:
      'the same: names that are reached without a proxy, separated by commas: `example.com` with all names below it, `host:port`, `*`',
  },
]

const PROXY_FORM = 'must be like http://host:port or http://user:password@host:port'

/** Ignores `HTTP_PROXY` in capitals: in programs that a web server starts, anybody could set it. */
export function proxies(environment: NodeJS.ProcessEnv): Proxies {
  const proxy = (...names: string[]): string | undefined => {
    const name = names.find(each => environment[each])
    if (name === undefined) return undefined
    const value = environment[name] as string
    const url = /^\w+:\/\//.test(value) ? value : `http://${value}`
    const checked = webUrl(url)
    if (!checked.url) throw new ConfigError(`the environment variable ${name} ${checked.flaw}; it ${PROXY_FORM}`)
    if (checked.url.secure) throw new ConfigError(`the environment variable ${name} ${PROXY_FORM}`)
    return checked.url.href
  }
  const exceptions = environment.no_proxy || environment.NO_PROXY || ''
  return {
    httpProxy: proxy('http_proxy'),
    httpsProxy: proxy('https_proxy', 'HTTPS_PROXY'),
    noProxy: exceptions.split(/[\s,]+/).filter(Boolean),
  }
}
