import { readFileSync } from 'node:fs'
import device from 'azure-iot-device'
import deviceMqtt from 'azure-iot-device-mqtt'

// What the SDK alone costs: connect, read the twin, say so. bare-client.js CONNECTION-STRING CA-FILE
const [connectionString, caFile] = process.argv.slice(2)
if (connectionString === undefined || caFile === undefined)
  throw new Error('usage: bare-client.js CONNECTION-STRING CA-FILE')
const client = device.Client.fromConnectionString(connectionString, deviceMqtt.Mqtt)
await client.setOptions({ ca: readFileSync(caFile, 'utf8') })
await client.open()
await client.getTwin()
console.log('twin')
