import { createHash } from 'node:crypto'
import { uuidOf } from './ext4.ts'
import { type Component, idOf } from './inventory.ts'

/** The image that a bill of materials is for. */
export interface Subject {
  readonly version: string
  /** Seconds; the same for two builds of one commit. */
  readonly epoch: number
}

const NAME = 'pi-adu-image'
const TOOL = 'pi-adu-build-image'

/**
 * Package URL (purl-spec, "Known types"). A package of a layer's source is not one of Debian's: its vendor is the source's host.
 * Layers and the agent are in no registry. Pure.
 */
export function purlOf({ kind, name, version, source }: Component): string {
  const encoded = encodeURIComponent(version)
  if (kind === 'deb' && source !== undefined) {
    const url = encodeURIComponent(source).replaceAll('%3A', ':').replaceAll('%2F', '/')
    return `pkg:deb/${new URL(source).hostname}/${encodeURIComponent(name)}@${encoded}?repository_url=${url}`
  }
  if (kind === 'deb') return `pkg:deb/debian/${encodeURIComponent(name)}@${encoded}?distro=trixie`
  if (kind === 'npm') return `pkg:npm/${name.split('/').map(encodeURIComponent).join('/')}@${encoded}`
  return `pkg:generic/${name}@${encoded}`
}

/** SPDX 2.3 in JSON. The same components give the same bytes. Pure. */
export function spdxOf({ version, epoch }: Subject, components: readonly Component[]): string {
  const root = 'SPDXRef-image'
  const packages = components.map(component => ({
    SPDXID: `SPDXRef-${component.kind}-${safe(idOf(component))}`,
    name: component.name,
    versionInfo: component.version,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: component.licence ?? 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    ...(component.sha256 && { checksums: [{ algorithm: 'SHA256', checksumValue: component.sha256 }] }),
    externalRefs: [
      { referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purlOf(component) },
    ],
  }))
  const image = {
    ...{ SPDXID: root, name: NAME, versionInfo: version, downloadLocation: 'NOASSERTION', filesAnalyzed: false },
    ...{ licenseConcluded: 'NOASSERTION', licenseDeclared: 'NOASSERTION', copyrightText: 'NOASSERTION' },
    primaryPackagePurpose: 'OPERATING-SYSTEM',
  }
  const relation = (from: string, relationshipType: string, to: string): object => ({
    spdxElementId: from,
    relatedSpdxElement: to,
    relationshipType,
  })
  return json({
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `${NAME}-${version}`,
    documentNamespace: `urn:uuid:${uuidFor('spdx', version, epoch, components)}`,
    creationInfo: { created: timeOf(epoch), creators: [`Tool: ${TOOL}`] },
    packages: [image, ...packages],
    relationships: [
      relation('SPDXRef-DOCUMENT', 'DESCRIBES', root),
      ...packages.map(({ SPDXID }) => relation(root, 'CONTAINS', SPDXID)),
    ],
  })
}

/** CycloneDX 1.5 in JSON. The same components give the same bytes. Pure. */
export function cycloneDxOf({ version, epoch }: Subject, components: readonly Component[]): string {
  const root = { type: 'operating-system', 'bom-ref': NAME, name: NAME, version }
  return json({
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    serialNumber: `urn:uuid:${uuidFor('cyclonedx', version, epoch, components)}`,
    version: 1,
    metadata: { timestamp: timeOf(epoch), tools: [{ name: TOOL }], component: root },
    components: components.map(component => ({
      type: component.kind === 'npm' || component.kind === 'deb' ? 'library' : 'application',
      'bom-ref': purlOf(component),
      name: component.name,
      version: component.version,
      ...(component.sha256 && { hashes: [{ alg: 'SHA-256', content: component.sha256 }] }),
      ...(component.licence && { licenses: [{ expression: component.licence }] }),
      purl: purlOf(component),
    })),
    dependencies: [{ ref: NAME, dependsOn: components.map(purlOf) }],
  })
}

/** Without clock and chance: two builds of one image have one identity. */
function uuidFor(kind: string, version: string, epoch: number, components: readonly Component[]): string {
  const content = JSON.stringify([kind, version, epoch, components.map(part => [idOf(part), part.sha256 ?? ''])])
  return uuidOf(createHash('sha256').update(content).digest('hex'))
}

const safe = (text: string): string => text.replaceAll(/[^A-Za-z0-9.]+/g, '-')
const timeOf = (epoch: number): string => new Date(epoch * 1000).toISOString().replace('.000', '')
const json = (value: object): string => `${JSON.stringify(value, null, 1)}\n`
