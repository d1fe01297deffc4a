import { createRequire } from 'node:module'

/**
 * Before the first connection: the MQTT codec otherwise builds 65,536 small buffers on its first packet, 4 MB of memory
 * for speed that one connection has no use for (a documented switch of mqtt-packet).
 */
export function leanMqtt(): void {
  const fromMqtt = createRequire(createRequire(import.meta.url).resolve('mqtt'))
  fromMqtt('mqtt-packet').writeToStream.cacheNumbers = false
}
