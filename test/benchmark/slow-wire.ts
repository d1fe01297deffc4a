import { connect, createServer, type Server, type Socket } from 'node:net'

/** Of each direction: milliseconds on the way, bytes that fit through in a second. */
export interface Wire {
  readonly delay: number
  readonly bytesPerSecond: number
}

/** A way to a local port that is as long and as narrow as told. It loses nothing: that takes netem. */
export function slowWire(port: number, wire: Wire): Server {
  return createServer({ noDelay: true }, near => {
    const far = connect({ port, host: '127.0.0.1', noDelay: true })
    carry(near, far, wire)
    carry(far, near, wire)
  })
}

function carry(from: Socket, to: Socket, { delay, bytesPerSecond }: Wire): void {
  const onTheWay: { readonly due: number; readonly bytes: Buffer | undefined }[] = []
  let free = 0
  let count = 0
  let waiting = false
  // What is on a wire at one time; the sender waits with the rest.
  const room = (bytesPerSecond * delay) / 1000 + 65_536

  const send = (bytes: Buffer | undefined): void => {
    free = Math.max(free, performance.now()) + ((bytes?.length ?? 0) / bytesPerSecond) * 1000
    onTheWay.push({ due: free + delay, bytes })
    count += bytes?.length ?? 0
    if (count > room) from.pause()
    if (!waiting) setTimeout(arrive, delay)
    waiting = true
  }
  // One timer for all: several do not keep their order.
  const arrive = (): void => {
    for (let [first] = onTheWay; first && first.due <= performance.now(); [first] = onTheWay) {
      onTheWay.shift()
      if (!first.bytes) return void to.end()
      to.write(first.bytes)
      count -= first.bytes.length
    }
    if (count <= room) from.resume()
    const [next] = onTheWay
    waiting = next !== undefined
    if (next) setTimeout(arrive, Math.max(1, next.due - performance.now()))
  }

  from.on('data', send).on('end', () => send(undefined))
  from.on('error', () => to.destroy()).on('close', () => setTimeout(() => to.destroy(), 2 * delay + 1000).unref())
}
