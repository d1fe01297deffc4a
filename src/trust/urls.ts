import type { FileEntity } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { type Hosts, hostComplaint } from '../domain/hosts.ts'
import { webUrl } from '../domain/web-url.ts'

/** Whether there is anything at all for this file. */
export const hasUrl = ({ fileId }: FileEntity, fileUrls: unknown): boolean =>
  typeof fileUrls === 'object' && fileUrls !== null && (fileUrls as Record<string, unknown>)[fileId] != null

/** The URL is unsigned; it only says where to fetch from. Errors: AgentError `URL_BAD`, `HOST_NOT_ALLOWED`. */
export function urlOf({ fileId, fileName }: FileEntity, fileUrls: unknown, hosts?: Hosts): string {
  const urls = typeof fileUrls === 'object' && fileUrls !== null ? (fileUrls as Record<string, unknown>) : {}
  const url = Object.hasOwn(urls, fileId) ? urls[fileId] : undefined
  if (typeof url !== 'string') throw new AgentError('URL_BAD', `fileUrls has no URL for ${fileName} (${fileId})`)
  const checked = webUrl(url)
  if (!checked.url) throw new AgentError('URL_BAD', `the URL of ${fileName} ${checked.flaw}`)
  // The addresses of the name are checked when it is fetched, with the same result code.
  const refused = hosts?.refusal(checked.url, true)
  if (hosts && refused) {
    const { host, hostname } = checked.url
    throw new AgentError('HOST_NOT_ALLOWED', hostComplaint(hosts, host, hostname, refused))
  }
  return checked.url.href
}
