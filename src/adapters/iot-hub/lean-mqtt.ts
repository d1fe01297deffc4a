import mqttPacket from 'mqtt-packet'

/**
 * Set before the first connection. Otherwise the MQTT codec builds 65,536 small buffers on its first packet, 4 MB of memory
 * for speed that one connection does not need (a documented option of mqtt-packet).
 */
export function leanMqtt(): void {
  // Documented, but missing from the types.
  const { writeToStream } = mqttPacket as unknown as { writeToStream: { cacheNumbers: boolean } }
  writeToStream.cacheNumbers = false
}
