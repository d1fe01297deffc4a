import type { ErrorCode } from '../domain/result-codes.ts'
import { DISK, IMPORT_AGAIN, type Words, words } from './words.ts'

const APT_MANIFEST =
  '`pi-adu-operator apt-manifest check FILE` says what is wrong. Correct it and import the update again.'
const COMPONENTS =
  'Correct the file or the program that `components` in `/etc/pi-adu/steps.json` names; the details say what is wrong.'
const SCRIPT_AUTHOR = 'Read the details, which end with what the script printed, and correct the script.'

/** The codes of manifest steps and of their handlers, in words. */
export const STEP_WORDS = {
  HANDLER_UNKNOWN: words(
    'a step of the update asks for a handler that this device does not have',
    'Import the update with a handler that the device has, for example microsoft/swupdate:2.',
  ),
  STEP_WITHOUT_HANDLER: words('a step of the update names no handler', IMPORT_AGAIN),
  STEP_WITHOUT_PROPERTIES: words('a step of the update has no handlerProperties', IMPORT_AGAIN),
  CHILD_ENTITY: words('a reference step names no file with a child manifest', IMPORT_AGAIN),
  CHILD_BAD: words(
    'a child manifest cannot be read, is too large, or is another update than the parent names',
    IMPORT_AGAIN,
  ),
  NESTED_REFERENCE: words('a child manifest has reference steps of its own', IMPORT_AGAIN),
  CHILD_COMPATIBILITY: words('a child manifest does not say which components it is for', IMPORT_AGAIN),
  COMPONENTS_BAD: words('the device’s list of components cannot be read', COMPONENTS),
  COMPONENTS_MISSING: words(
    'the file or program with the device’s components is not there or cannot be trusted',
    COMPONENTS,
  ),
  COMPONENTS_FAILED: words('the program that lists the device’s components failed', COMPONENTS),
  TOO_MANY_STEPS: words(
    'the steps of the update, once for each component, are more than this agent takes',
    'Make several updates of it.',
  ),
  SWU_FILE_COUNT: words('a SWUpdate step does not have exactly one file', IMPORT_AGAIN),
  SWU_SCRIPT_NAME_MISSING: words('scriptFileName of a SWUpdate step is empty', IMPORT_AGAIN),
  SWU_FILE_NAME_MISSING: words('a SWUpdate step does not name its bundle in swuFileName', IMPORT_AGAIN),
  SWU_SCRIPT_CONFIG: words(
    'the device’s file with arguments for SWUpdate scripts cannot be used',
    'Correct `/etc/pi-adu/swupdate-handler-config.json`: a JSON object of texts, which only root may write.',
  ),
  SWU_SCRIPT_FILES: words('a SWUpdate step with a script has fewer than two files', IMPORT_AGAIN),
  SWU_SCRIPT_UNKNOWN: words('scriptFileName of a SWUpdate step is not one of its files', IMPORT_AGAIN),
  SWU_FILE_UNKNOWN: words('swuFileName is not one of the step’s files', IMPORT_AGAIN),
  SWU_SCRIPT_RESULT: words('a SWUpdate script left no result file that can be read', SCRIPT_AUTHOR),
  CRITERIA_MISSING: words('the step has no installedCriteria', IMPORT_AGAIN),
  SCRIPT_NAME_MISSING: words('a script step does not name its script in scriptFileName', IMPORT_AGAIN),
  SCRIPT_NO_FILES: words('a script step has no files', IMPORT_AGAIN),
  SCRIPT_FILE_UNKNOWN: words('scriptFileName is not one of the step’s files', IMPORT_AGAIN),
  SCRIPT_RESULT: words('a script left no result file that can be read', SCRIPT_AUTHOR),
  SCRIPT_SILENT: words('a script reported a failure without a code', SCRIPT_AUTHOR),
  SCRIPT_FAILED: words('a script failed; the last digits are its exit code', SCRIPT_AUTHOR),
  APT_MANIFEST_BAD: words('the APT manifest cannot be read', APT_MANIFEST),
  APT_PACKAGE_BAD: words('an entry in the APT manifest is not a package name with a version', APT_MANIFEST),
  APT_FILE_COUNT: words('an APT step does not have exactly one file, its APT manifest', IMPORT_AGAIN),
  APT_CRITERIA_STORE: words('the list of installed APT manifests cannot be written', DISK),
  APT_CRITERIA_MISSING: words('an APT step has no installedCriteria', IMPORT_AGAIN),
  APT_DOWNLOAD: words(
    'apt cannot find or download the packages; nothing was installed',
    'The details end with what apt said. Check that the repository has these packages and versions for this device.',
  ),
  APT_INSTALL: words(
    'apt could not install or remove the packages',
    'The details end with what apt said. Mend the package, then deploy again: an interrupted installation is completed first.',
  ),
  APT_LOCKED: words(
    'another program held the lock of apt or dpkg for too long',
    'Find it: `fuser -v /var/lib/dpkg/lock-frontend`. Often it is unattended-upgrades; then retry.',
  ),
  APT_SPACE: words(
    'there is too little free space for the packages; nothing was installed',
    'Free some: `apt-get clean`, `apt-get autoremove`, old logs. The details say how much is needed.',
  ),
  APT_DOWNGRADE: words(
    'the APT manifest has an older version of a package than the device, and downgrades are not allowed',
    'List a newer version, or set `packages.allowDowngrade` in `/etc/pi-adu/steps.json`.',
  ),
  APT_TIMED_OUT: words(
    'apt took too long and was ended',
    'Raise `limits.seconds` in `/etc/pi-adu/steps.json` if the packages need it. The next attempt completes what was interrupted.',
  ),
  APT_REMOVES_AGENT: words(
    'the packages would remove the update agent; nothing was done',
    'Correct the packages or their dependencies: without its agent the device takes no more updates.',
  ),
  SCRIPT_NOT_ALLOWED: words(
    'the step has a script, and scripts are not allowed on this device',
    'Put `"scripts": {"run": "on"}` into `/etc/pi-adu/steps.json`. An image needs no script: import it without scriptFileName.',
  ),
  STEPS_UNSUPPORTED: words('steps of a kind or number that this agent does not support', IMPORT_AGAIN),
  STEP_UNKNOWN: words(
    'a step was interrupted and cannot say whether it is done, so it is not run again',
    'Look at the device: the details name the step. Then deploy the update again.',
  ),
  STEP_SERVICE: words(
    'the step service does not answer',
    'Look at `systemctl status pi-adu-steps.socket` and `journalctl -u pi-adu-steps`.',
  ),
  STEP_REFUSED: words(
    'the step service refused the step: it verifies signature, hashes and permission itself',
    'Read the details; `journalctl -u pi-adu-steps` has more.',
  ),
  SCRIPT_PROPERTIES: words('arguments, apiVersion or installedCriteria of a script step cannot be used', IMPORT_AGAIN),
  SCRIPT_ACTION_RESULT: words('a script or handler gave a result code that its action must not give', SCRIPT_AUTHOR),
  SCRIPT_TIMED_OUT: words(
    'a script or handler took longer than this device allows, and was ended',
    'Read the details. Correct it, or raise `limits.seconds` in `/etc/pi-adu/steps.json`.',
  ),
  SCRIPT_KILLED: words(
    'a script or handler was ended by a signal, for example because it used too much memory',
    'Look at `journalctl -u pi-adu-steps`. Correct it, or raise `limits` in `/etc/pi-adu/steps.json`.',
  ),
  OWN_UNSAFE: words(
    'the executable of a handler of the owner’s own cannot be used',
    'It must be a regular executable file in the handlers folder. Only root may own and write it.',
  ),
  OWN_RESULT: words('a handler of the owner’s own gave no valid result', SCRIPT_AUTHOR),
  OWN_FAILED: words('a handler of the owner’s own failed', SCRIPT_AUTHOR),
  OWN_BUSY: words(
    'a handler of the owner’s own asked to be tried again until the device gave up',
    'The details end with what it printed. Check what it works on, then deploy the update again.',
  ),
} satisfies Partial<Record<ErrorCode, Words>>
