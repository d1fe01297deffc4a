import type { ErrorCode } from '../domain/result-codes.ts'
import { STEP_WORDS } from './step-codes.ts'
import { DISK, IMPORT_AGAIN, type Words, words } from './words.ts'

const VERIFY = '`pi-adu verify` shows which check fails.'
const DEPLOY_AGAIN = 'Deploy the update again; if the code comes back, ask the support of the service.'
const SERVICE_KEYS = `The service signs deployments. ${DEPLOY_AGAIN} ${VERIFY}`
const SERVICE_PACKAGE =
  'The service publishes the root key package. Check that nothing on the way changes it, then retry.'
const BUILD_AGAIN = 'Build the bundle with `pi-adu-operator bundle create`, which makes only what devices accept.'
const ALLOW = 'Build the bundle without it, or allow it by name in `piAdu.bundle.allow`.'
const CARD = 'Check the card: `dmesg` shows write errors. Replace it if they come back.'

/** What each of this agent's codes means, and what to do. The compiler checks that no row is missing. */
export const OWN_WORDS: Readonly<Record<ErrorCode, Words>> = {
  ...STEP_WORDS,
  DEPLOYMENT_MALFORMED: words('the deployment in the twin cannot be read', DEPLOY_AGAIN),
  SIGNATURE_MISSING: words('the update manifest has no signature', SERVICE_KEYS),
  MANIFEST_HASH: words('the update manifest is not the text that was signed', SERVICE_KEYS),
  MANIFEST_BAD: words('the update manifest cannot be read', IMPORT_AGAIN),
  MANIFEST_VERSION: words('the update manifest has a version that this agent does not know', 'Update the agent first.'),
  ACTION_BAD: words('the deployment asks for an unknown action', DEPLOY_AGAIN),
  DETACHED_ENTITY: words('the update manifest names no usable detached manifest', IMPORT_AGAIN),
  DETACHED_BAD: words('the detached manifest is too large or does not fit the deployment', IMPORT_AGAIN),
  DETACHED_JSON: words('the detached manifest is not JSON', IMPORT_AGAIN),
  DETACHED_EMPTY: words('the detached manifest holds no update manifest', IMPORT_AGAIN),
  JWS_UNUSABLE: words('the signature cannot be used', SERVICE_KEYS),
  JWS_STRUCTURE: words('the signature does not have the form of a JWS', SERVICE_KEYS),
  JWS_SIGNATURE: words('the signature is wrong', SERVICE_KEYS),
  JWS_ROOT_KEY_DISABLED: words('the root key behind the signature has been withdrawn', SERVICE_KEYS),
  JWS_ROOT_KEY_UNKNOWN: words(
    'this device does not know the root key behind the signature',
    'Check that the device trusts the right service: `piAdu.trust.rootKeys` names further root keys.',
  ),
  PACKAGE_UNUSABLE: words('no root keys can be used', SERVICE_PACKAGE),
  JWS_HEADER_ENCODING: words('the header of the signature cannot be decoded', SERVICE_KEYS),
  JWS_SIGNING_KEY_PAYLOAD: words('the signing key in the signature cannot be read', SERVICE_KEYS),
  JWS_SIGNING_KEY_BUILD: words('the signing key in the signature is not a usable RSA key', SERVICE_KEYS),
  SIGNING_KEY_REVOKED: words('the signing key has been withdrawn', SERVICE_KEYS),
  PACKAGE_JSON: words('the root key package is not JSON', SERVICE_PACKAGE),
  PACKAGE_VERSION: words('the root key package has no version', SERVICE_PACKAGE),
  PACKAGE_PUBLISHED: words('the root key package has no publication time', SERVICE_PACKAGE),
  PACKAGE_DISABLED_ROOT_KEYS: words('the root key package has no list of withdrawn root keys', SERVICE_PACKAGE),
  PACKAGE_HASH_ALG_MISSING: words('a hash in the root key package names no algorithm', SERVICE_PACKAGE),
  PACKAGE_SIGNATURE_ALG_MISSING: words('a signature of the root key package names no algorithm', SERVICE_PACKAGE),
  PACKAGE_HASH_OR_SIG: words('a hash or signature in the root key package is missing', SERVICE_PACKAGE),
  PACKAGE_DISABLED_SIGNING_KEYS: words('the root key package has no list of withdrawn signing keys', SERVICE_PACKAGE),
  PACKAGE_KEY_TYPE_MISSING: words('a root key in the package has no type', SERVICE_PACKAGE),
  PACKAGE_ROOT_KEYS: words('the root key package has no root keys', SERVICE_PACKAGE),
  PACKAGE_NO_PROTECTED: words('the root key package has no signed part', SERVICE_PACKAGE),
  PACKAGE_SIGNATURES: words('the root key package has no signatures', SERVICE_PACKAGE),
  PACKAGE_ROOT_KEYS_EMPTY: words('the list of root keys in the package is empty', SERVICE_PACKAGE),
  PACKAGE_SIGNATURES_EMPTY: words('the list of signatures of the root key package is empty', SERVICE_PACKAGE),
  PACKAGE_MODULUS: words('a root key in the package has an unusable modulus', SERVICE_PACKAGE),
  PACKAGE_HASH_ALG: words('a hash in the root key package has an unknown algorithm', SERVICE_PACKAGE),
  PACKAGE_SIGNATURE_ALG: words('a signature of the root key package has an unknown algorithm', SERVICE_PACKAGE),
  PACKAGE_ENCODING: words('the root key package is not correctly encoded', SERVICE_PACKAGE),
  PACKAGE_KEY_ID: words('a key id in the root key package is invalid', SERVICE_PACKAGE),
  PACKAGE_KEY_TYPE: words('a root key in the package has an unknown type', SERVICE_PACKAGE),
  PACKAGE_KEY_PARAMETERS: words('a root key in the package is not a usable RSA key', SERVICE_PACKAGE),
  PACKAGE_SIGNATURE_ENTRY: words('an entry in the signatures of the root key package is invalid', SERVICE_PACKAGE),
  PACKAGE_SIGNING_KEY_ENTRY: words('an entry in the withdrawn signing keys is invalid', SERVICE_PACKAGE),
  PACKAGE_EXPONENT: words('a root key in the package has an unusable exponent', SERVICE_PACKAGE),
  PACKAGE_NO_ANCHOR: words('no built-in root key can check the root key package', 'Update the agent first.'),
  PACKAGE_UNSIGNED: words('the root key package lacks the signature of a built-in root key', SERVICE_PACKAGE),
  PACKAGE_SIGNATURE: words('a signature of the root key package is wrong', SERVICE_PACKAGE),
  PACKAGE_STORE: words('the root key package cannot be read from or written to the disk', DISK),
  PACKAGE_URL_MISSING: words('the deployment names no root key package', DEPLOY_AGAIN),
  PACKAGE_URL: words('the URL of the root key package is invalid', DEPLOY_AGAIN),
  PACKAGE_DOWNLOAD: words(
    'the root key package cannot be downloaded',
    'Check that the device reaches the host of `rootKeyPackageUrl`, through its proxy if it has one.',
  ),
  PACKAGE_IS_TEST: words('the root key package is one for tests', 'Check which service the device is connected to.'),
  PACKAGE_CHANGED: words('the root key package has changed; the new one is in use', 'Nothing to do.'),
  PACKAGE_UNCHANGED: words('the root key package is the one that the device has', 'Nothing to do.'),
  DOWNLOAD_FAILED: words(
    'a file cannot be downloaded',
    'Read the cause in the details, then check network, proxy and the file server from the device.',
  ),
  URL_BAD: words('the URL of a file is missing or invalid', DEPLOY_AGAIN),
  HASH_TYPE: words('a file has a hash of an unknown kind', IMPORT_AGAIN),
  HASH_MISSING: words('a file has no SHA-256', IMPORT_AGAIN),
  FILE_HASH: words(
    'the downloaded file is not the one that was signed; the running system was not touched',
    'Check that the file server has the file that was imported.',
  ),
  WORK_FOLDER: words('the folder for downloads cannot be made', DISK),
  SWUPDATE_FAILED: words(
    'SWUpdate refused the bundle, or could not install it; its own words are in the details',
    'Read the details. `pi-adu-operator bundle check` looks at a bundle as a device does.',
  ),
  SPACE: words('the image is larger than the slot', 'Make the image smaller: the size of a slot cannot change.'),
  NAME_UNSAFE: words('a name that must not become part of a path', IMPORT_AGAIN),
  FILE_SIZE: words('the size differs from the signed manifest', 'Check that the file server has the imported file.'),
  CRITERIA_NOT_MET: words(
    'the new system is not the version that `installedCriteria` names',
    'Make installedCriteria equal to the first line of the new image’s /etc/adu-version, and import again.',
  ),
  TIMED_OUT: words(
    'the download took too long',
    'Check the connection, or raise `downloadTimeoutInMinutes`. A retry resumes the download.',
  ),
  CHILD_KILLED: words('SWUpdate was killed', 'Look for the OOM killer in `dmesg`, then retry.'),
  PACKAGE_OLDER: words('the root key package is older than the one that this device knows', SERVICE_PACKAGE),
  TOO_MANY_INSTALLS: words(
    'the installation was started too often and never finished',
    'Look for a cause of restarts: power supply, watchdog, `journalctl -u pi-adu-agent`.',
  ),
  FELL_BACK: words(
    'the boot script fell back: the new system used up its boot attempts',
    'Boot the image in QEMU (`scripts/run-qemu`) and see how far it comes; the details name the last milestone.',
  ),
  HEALTH: words(
    'the new system was not healthy in time',
    'The details name the failed check. Mend it in the image, or raise `piAdu.health.timeoutSeconds`.',
  ),
  NOT_DOWNLOADED: words(
    'the service ordered to install or apply an update that this device has not downloaded',
    'Cancel, then order the download (action 0) of this manifest again.',
  ),
  BOOT_STATE: words('the boot state cannot be read or written', `${CARD} \`fw_printenv\` must show it.`),
  JOURNAL: words('the journal cannot be read or written', DISK),
  TOO_MANY_REBOOTS: words(
    'reboots were requested and did not happen',
    'Check that `piAdu.host.rebootCommand` restarts the machine and that the boot script is the image’s.',
  ),
  COMPATIBILITY: words(
    'the update is for other devices',
    'Deploy it to a group with its manufacturer and model, or import it with the compatibility of these devices.',
  ),
  REPLACED: words('a deployment replaced the method’s update', 'Nothing to do.'),
  DOWNGRADE: words(
    'older than the installed or the minimum version',
    'Deploy a newer version, or set `piAdu.trust.allowDowngrade`.',
  ),
  SLOT: words('the slot could not be written to the disk', CARD),
  BUNDLE_FORMAT: words('the bundle is damaged, cut short, or not a cpio archive', BUILD_AGAIN),
  BUNDLE_BEHIND: words('something follows the end of the archive', BUILD_AGAIN),
  BUNDLE_UNSIGNED: words('the bundle is not signed', BUILD_AGAIN),
  BUNDLE_DESCRIPTION: words('`sw-description` is too large, or cannot be read', BUILD_AGAIN),
  BUNDLE_FILE: words('the files of the bundle are not those that `sw-description` names, in its order', BUILD_AGAIN),
  BUNDLE_NO_IMAGE: words('nothing in `sw-description` is written to the slot', BUILD_AGAIN),
  BUNDLE_HASH: words('a file has no SHA-256', BUILD_AGAIN),
  BUNDLE_DEVICE: words('an image for another device, or a second one for the slot', ALLOW),
  BUNDLE_HANDLER: words('an image of a type other than `raw`', ALLOW),
  BUNDLE_ATTRIBUTE: words('a setting that a system update does not need', ALLOW),
  BUNDLE_STAGED: words('an image that SWUpdate would first copy to its temporary folder', BUILD_AGAIN),
  BUNDLE_SCRIPT: words('the bundle has scripts', ALLOW),
  BUNDLE_LUA: words('the bundle has Lua code', ALLOW),
  BUNDLE_BOOT_VARIABLE: words('the bundle sets bootloader variables', ALLOW),
  BUNDLE_FILES: words('the bundle has files to be copied into a file system', ALLOW),
  BUNDLE_PARTITION: words('the bundle changes partitions', ALLOW),
  BUNDLE_UNWRITTEN: words(
    'SWUpdate succeeded but wrote nothing to the slot, so the slot is not activated',
    'Check that the images in `sw-description` go to the device that the configuration gives the slot.',
  ),
  SLOT_IN_USE: words(
    'the slot to be written is mounted or otherwise in use; nothing was written',
    'Find what uses it: `findmnt`, `lsblk`. A restart frees it.',
  ),
  HOST_NOT_ALLOWED: words(
    'the host is not in `allowedHosts`, or is at an address in a private network',
    'Add the host to `piAdu.content.allowedHosts` if files may come from there.',
  ),
  CRASH_LOOP: words(
    'the agent’s process ended three times while it verified this deployment or worked on it',
    'Send `journalctl -u pi-adu-agent` to the maintainers. A retry tries once more.',
  ),
  CANCELLED_HERE: words(
    'somebody at the device has cancelled the deployment',
    'Ask on site why. `pi-adu retry` on the device, or a retry in the cloud, begins it again.',
  ),
  COMMITTED_HERE: words(
    'somebody at the device has committed the new system before its health checks had passed',
    'The system runs. Ask on site why they did not wait; `pi-adu status` shows whether the device is well.',
  ),
  ROLLED_BACK: words(
    'somebody at the device has gone back to the system before this update',
    'Ask on site what was wrong with the update, then deploy a better one.',
  ),
  ROLLBACK_FAILED: words(
    'somebody at the device wanted to go back, but the other system did not start or was not healthy; the update still runs',
    'The details say what was wrong. Deploy the older version as an update.',
  ),
  PROVIDER: words(
    'the update’s provider is not in `piAdu.trust.providers`',
    'Add the provider there if its updates are yours.',
  ),
  SWUPDATE_STALLED: words(
    'SWUpdate hung: it took nothing, wrote nothing and said nothing for `piAdu.swupdate.stallSeconds`, or no longer answered',
    `${CARD} Then retry.`,
  ),
  LOCAL_FOLDER: words(
    'the folder does not hold a deployment',
    'Write it with `pi-adu-operator offline create`, and name the folder that has `deployment.json` in it.',
  ),
  LOCAL_FILE: words(
    'a file of the local deployment cannot be read',
    'Check that the stick is still plugged in and that the folder is complete, then start over.',
  ),
  LOCAL_OFF: words(
    'this device does not install plain bundles locally',
    'Bring a folder with a signed deployment, or switch `piAdu.local.allowBundles` on.',
  ),
  LOCAL_INSTALLED: words('the version of the local deployment is running already', 'Nothing to do.'),
  LOCAL_TRIED: words(
    'the watched folder holds a deployment that this device has tried',
    'To try it again, take the stick out for half a minute while the agent runs, or use `pi-adu install`.',
  ),
  LOCAL_BUSY: words(
    'the local deployment cannot begin now',
    'The details say what is in the way. Wait for its end, or cancel it, then start over.',
  ),
  LOGS_REQUEST: words(
    'the request for logs has no operation id, or its URL is not a container of a storage account that the device may use',
    'The log of the device says what is wrong. Other storage accounts: add their hosts to `piAdu.diagnostics.allowedHosts`.',
  ),
  LOGS_OFF: words('log collection is off on this device', 'Set `piAdu.diagnostics.enabled`.'),
  LOGS_UPLOAD: words(
    'the storage account refused the logs, or could not be reached for two minutes',
    'Check that the URL of the container allows to write and has not expired, then ask again. The log of the device says what was answered.',
  ),
  LOGS_BUNDLE: words(
    'the support bundle could not be made',
    'Try `pi-adu logs --bundle FILE` on the device: it says why. Often the disk is full.',
  ),
  LOGS_INTERRUPTED: words(
    'the agent ended twice while it uploaded the logs',
    'Look at `journalctl -u pi-adu-agent` for the cause, then ask again with another operation id.',
  ),
  INTERNAL: words(
    'the reboot command failed, or another fault in the agent',
    'Send `journalctl -u pi-adu-agent` to the maintainers.',
  ),
}
