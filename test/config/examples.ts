export const KEY = 'c2VjcmV0c2VjcmV0c2VjcmV0'

/** The least that a configuration can be. */
export const least = () => ({
  schemaVersion: '1.1',
  manufacturer: 'contoso',
  model: 'pi4',
  agents: [
    {
      name: 'main',
      manufacturer: 'contoso',
      model: 'pi4',
      connectionSource: {
        connectionType: 'string',
        connectionData: `HostName=hub.example.com;DeviceId=pi1;SharedAccessKey=${KEY}`,
      },
    },
  ],
})
