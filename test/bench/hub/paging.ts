import { invalidArgument } from './errors.ts'
import type { JsonObject } from './json.ts'
import type { RestAnswer, RestRequest } from './routes.ts'

const MAX_ITEMS = 100

/** One page, by the request's `x-ms-max-item-count` and `x-ms-continuation`. Rows that come and go between pages shift it. */
export function page(
  rows: readonly JsonObject[],
  { header }: Pick<RestRequest, 'header'>,
  itemType: string,
): RestAnswer {
  const wanted = Number(header('x-ms-max-item-count') || MAX_ITEMS)
  if (!Number.isInteger(wanted) || wanted < 1) throw invalidArgument('x-ms-max-item-count is not a positive number')
  const start = startOf(header('x-ms-continuation'))
  const end = start + Math.min(wanted, MAX_ITEMS)
  return {
    status: 200,
    body: rows.slice(start, end),
    headers: {
      'x-ms-item-type': itemType,
      ...(end < rows.length && { 'x-ms-continuation': Buffer.from(`from ${end}`).toString('base64') }),
    },
  }
}

function startOf(token: string | undefined): number {
  if (!token) return 0
  const start = /^from (\d{1,9})$/.exec(Buffer.from(token, 'base64').toString())?.[1]
  if (start === undefined) throw invalidArgument('x-ms-continuation is not a token of this hub')
  return Number(start)
}
