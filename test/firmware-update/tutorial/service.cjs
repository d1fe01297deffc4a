'use strict'
// A service application as the tutorials of 2016 to 2018 teach it: start the update with a direct method, then look at the
// reported properties twice a second. Only the connection string is to be filled in.
//   node service.cjs DEVICE URI
var Registry = require('azure-iothub').Registry
var Client = require('azure-iothub').Client

var connectionString = '{iothub connectionstring}'
var deviceToUpdate = process.argv[2]
var fwPackageUri = process.argv[3]

var registry = Registry.fromConnectionString(connectionString)
var client = Client.fromConnectionString(connectionString)

function queryTwin() {
  registry.getTwin(deviceToUpdate, (err, twin) => {
    if (err) {
      console.error(`Could not query twins: ${err.constructor.name}: ${err.message}`)
    } else if (twin.properties.reported.iothubDM) {
      console.log(JSON.stringify(twin.properties.reported.iothubDM.firmwareUpdate))
    }
  })
}

function startFirmwareUpdateDevice() {
  var methodParams = {
    methodName: 'firmwareUpdate',
    payload: { fwPackageUri: fwPackageUri },
    timeoutInSeconds: 30,
  }
  client.invokeDeviceMethod(deviceToUpdate, methodParams, (err, result) => {
    if (err) console.error(`Could not start the firmware update on the device: ${err.message}`)
    else console.log(`answer: ${JSON.stringify(result)}`)
  })
}

registry.getTwin(deviceToUpdate, err => {
  if (err) {
    console.error(`Could not get device twin: ${err.message}`)
  } else {
    startFirmwareUpdateDevice()
    setInterval(queryTwin, 500)
  }
})
