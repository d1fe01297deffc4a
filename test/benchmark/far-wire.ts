import { spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { GUEST_VIEW } from '../bench/hub/certs.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'

/** Of each direction: milliseconds on the way, bytes that fit through in a second, and how many of all packets are lost. */
export interface Wire {
  readonly delay: number
  readonly bytesPerSecond: number
  readonly loss: number
}

const OWN_ADDRESS = '10.0.2.1'
/** What waits before a full wire, in milliseconds of its speed; more is lost, as in a router. */
const QUEUE = 100

/**
 * A far machine that is this one: whatever this network namespace sends to `GUEST_VIEW` comes back to it over the wire, as
 * from there. TCP itself then has to do with distance and loss, which a relay between two connections would hide from it.
 * What tc-netem(8) does, for kernels without it. `server`: the port that others connect to. Needs a network namespace of its
 * own (unshare --net), and Perl.
 */
export async function farWire(server: number): Promise<{ set(wire: Wire): void; stop(): Promise<void> }> {
  await runProgram(['ip', 'link', 'set', 'lo', 'up'])
  const relay = createSocket('udp4')
  relay.bind(0, '127.0.0.1')
  await once(relay, 'listening')
  const port = await freePort()
  const device = await tunDevice(port, relay.address().port)
  let wire: Wire = { delay: 0, bytesPerSecond: 1e9, loss: 0 }
  let random = lottery()
  relay.setRecvBufferSize(4 << 20)
  const ways = [carrier(relay, port), carrier(relay, port)] as const
  relay.on('message', packet => {
    if (packet[0]! >> 4 !== 4 || random() < wire.loss) return
    // Without options, as our kernel sends it, an IP header has 20 bytes; the sender's port comes next.
    ways[packet.readUInt16BE(20) === server ? 0 : 1].carry(turned(packet), wire)
  })
  return {
    set(next) {
      wire = next
      // The same luck for all.
      random = lottery()
    },
    async stop() {
      for (const way of ways) way.stop()
      await device.remove()
      relay.close()
    },
  }
}

/**
 * A network device whose packets go to the UDP port `to`, and come from the port `from` (kernel, networking/tuntap.rst). In Perl, as
 * Node has no ioctl(2).
 */
const TUN = `
use strict;
use Socket;
my ($name, $from, $to) = @ARGV;
sysopen my $tun, '/dev/net/tun', 2 or die "/dev/net/tun: $!\\n";
ioctl $tun, 0x400454ca, pack('a16 S x22', $name, 0x1001) or die "no TUN device: $!\\n";
socket my $udp, PF_INET, SOCK_DGRAM, 0 or die "$!\\n";
setsockopt $udp, SOL_SOCKET, SO_RCVBUF, pack 'i', 4 << 20;
bind $udp, sockaddr_in $from, INADDR_LOOPBACK or die "UDP port $from: $!\\n";
connect $udp, sockaddr_in $to, INADDR_LOOPBACK or die "UDP port $to: $!\\n";
$| = 1;
print "ready";
my ($all, $packet) = '';
vec($all, fileno $_, 1) = 1 for $tun, $udp;
while (select(my $ready = $all, undef, undef, undef) > 0) {
  syswrite $udp, $packet if vec($ready, fileno $tun, 1) and sysread $tun, $packet, 65535;
  syswrite $tun, $packet if vec($ready, fileno $udp, 1) and sysread $udp, $packet, 65535;
}
`

/** Errors: where the kernel allows no such device. */
async function tunDevice(from: number, to: number): Promise<{ remove(): Promise<void> }> {
  const perl = spawn('perl', ['-e', TUN, 'far', String(from), String(to)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  perl.stderr.on('data', piece => {
    said += piece
  })
  const ended = once(perl, 'close')
  if (!(await Promise.race([once(perl.stdout, 'data'), ended.then(() => undefined)]))) throw new Error(said.trim())
  await runProgram(['ip', 'addr', 'add', `${OWN_ADDRESS}/24`, 'dev', 'far'])
  await runProgram(['ip', 'link', 'set', 'far', 'up'])
  return {
    async remove() {
      perl.kill()
      await ended
    },
  }
}

/** Sender and receiver change places; their sum, and with it the checksums, stay what they were (RFC 1071). */
function turned(packet: Buffer): Buffer {
  const sender = packet.readUInt32BE(12)
  packet.writeUInt32BE(packet.readUInt32BE(16), 12)
  packet.writeUInt32BE(sender, 16)
  return packet
}

/** One direction. */
function carrier(relay: Socket, port: number): { carry(packet: Buffer, wire: Wire): void; stop(): void } {
  const onTheWay: { readonly due: number; readonly packet: Buffer }[] = []
  let free = 0
  let timer: NodeJS.Timeout | undefined
  const arrive = (): void => {
    while (onTheWay[0] && onTheWay[0].due <= performance.now()) relay.send(onTheWay.shift()!.packet, port, '127.0.0.1')
    timer = onTheWay.length > 0 ? setTimeout(arrive, 1) : undefined
  }
  return {
    carry(packet, { delay, bytesPerSecond }) {
      const now = performance.now()
      if (free - now > QUEUE) return
      free = Math.max(free, now) + (packet.length / bytesPerSecond) * 1000
      onTheWay.push({ due: free + delay, packet })
      timer ??= setTimeout(arrive, 1)
    },
    stop: () => clearTimeout(timer),
  }
}

async function freePort(): Promise<number> {
  const probe = createSocket('udp4')
  probe.bind(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  return port
}

/** The same numbers from 0 to 1 each time. */
function lottery(): () => number {
  const numbers = pseudoRandom(1 << 20, 'loss')
  let at = 0
  return () => {
    at = (at + 4) % numbers.length
    return numbers.readUInt32BE(at) / 2 ** 32
  }
}

export const farAway = (url: string): string => url.replace('localhost', GUEST_VIEW)
