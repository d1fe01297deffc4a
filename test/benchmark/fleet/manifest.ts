import { createHash } from 'node:crypto'

/** The update manifest of one bundle, as the service would send it. */
export const manifestOf = (version: string, bundle: Buffer): string =>
  JSON.stringify({
    manifestVersion: '5',
    updateId: { provider: 'contoso', name: 'control-plane', version },
    compatibility: [{ manufacturer: 'contoso', model: 'control-plane' }],
    instructions: {
      steps: [
        {
          handler: 'microsoft/swupdate:2',
          files: ['f1'],
          handlerProperties: { installedCriteria: version, swuFileName: 'system.swu' },
        },
      ],
    },
    files: {
      f1: {
        fileName: 'system.swu',
        sizeInBytes: bundle.length,
        hashes: { sha256: createHash('sha256').update(bundle).digest('base64') },
      },
    },
    createdDateTime: '2026-01-01T00:00:00.0000000Z',
  })
