import mqttPacket from 'mqtt-packet'

/**
 * Before the first connection: the MQTT codec otherwise builds 65,536 small buffers on its first packet, 4 MB of memory
 * for speed that one connection has no use for (a documented switch of mqtt-packet).
 */
export function leanMqtt(): void {
  // In its documentation, not in its types.
  const { writeToStream } = mqttPacket as unknown as { writeToStream: { cacheNumbers: boolean } }
  writeToStream.cacheNumbers = false
}
