/** `resultCode` as reported (protocol, chapter 6.1). */
export const RESULT_CODE = {
  failure: 0,
  cancelled: -1,
  idle: 200,
  inProgress: 400,
  installSkipped: 603,
  applied: 700,
} as const

/** Packs facility (4 bits), component (8 bits) and value (20 bits), chapter 6.3. */
export const erc = (facility: number, component: number, value: number): number =>
  ((facility << 28) | (component << 20) | (value & 0xfffff)) >>> 0

/** On the wire: eight upper-case hex digits. */
export const ercText = (code: number): string => (code >>> 0).toString(16).toUpperCase().padStart(8, '0')

/** SWUpdate's exit code in the range that chapter 6.3 keeps for it. */
export const swupdateExit = (exitCode: number): number => erc(3, 1, 0x1000 + (exitCode & 0xff))

/** Our own additions: facility 3, component 0x21 (chapter 6.4). */
const own = (value: number): number => erc(3, 0x21, value)

/** The only table of extended result codes. Names on the left are ours; values with a symbol in appendix A say so. */
export const EXTENDED_RESULT_CODE = {
  // Deployment and signature, chapters 2.2 and 4.7
  ORDER_MALFORMED: 0x80300000, // INVALID_ACTION_JSON
  SIGNATURE_MISSING: 0x80300001, // MANIFEST_VALIDATION_FAILED
  MANIFEST_HASH: 0x80300001, // MANIFEST_VALIDATION_FAILED
  UPDATE_ID_BAD: 0x80400005, // INVALID_UPDATE_ID
  MANIFEST_BAD: 0x80300009, // BAD_UPDATE_MANIFEST
  MANIFEST_VERSION: 0x8030000a, // UNSUPPORTED_UPDATE_MANIFEST_VERSION
  DETACHED_MANIFEST: 0x8030000b, // MISSING_DETACHED_UPDATE_MANIFEST_ENTITY
  JWS_UNUSABLE: 0xa0200000,
  JWS_STRUCTURE: 0xa0200002,
  JWS_SIGNATURE: 0xa0200004,
  JWS_ROOT_KEY_UNKNOWN: 0xa0200006,
  JWS_HEADER_ENCODING: 0xa0200008,
  JWS_SIGNING_KEY_PAYLOAD: 0xa0200009,
  JWS_SIGNING_KEY_BUILD: 0xa020000c,
  // Manifest step and files
  HANDLER_UNKNOWN: 0x30000003, // CREATE_FAILURE_NOT_FOUND
  STEP_WITHOUT_HANDLER: 0x8040000c, // PARSE_STEP_ENTRY_NO_HANDLER_TYPE
  STEP_WITHOUT_PROPERTIES: 0x8040000d, // COPY_HANDLER_PROPERTIES_FAILED
  SWU_FILE_COUNT: 0x30100004, // PREPARE_FAILURE_WRONG_FILECOUNT
  SWU_FILE_NAME_MISSING: 0x30100008, // MISSING_SWU_FILE_NAME
  SWU_FILE_UNKNOWN: 0x30100108, // DOWNLOAD_FAILURE_GET_PAYLOAD_FILE_ENTITY
  CRITERIA_MISSING: 0x30100206, // MISSING_INSTALLED_CRITERIA
  VERSION_FILE: 0x30100001, // EMPTY_VERSION
  // Content
  DOWNLOAD_FAILED: 0x40000005, // DOWNLOAD_EXCEPTION
  URL_BAD: 0x40000007, // INVALID_DOWNLOAD_URI
  HASH_TYPE: 0x40000008, // FILE_HASH_TYPE_NOT_SUPPORTED
  HASH_MISSING: 0x4000000b, // INVALID_FILE_ENTITY_NO_HASHES
  FILE_HASH: 0x4000000c, // INVALID_FILE_HASH
  WORK_FOLDER: 0x3040000b, // STEPS_HANDLER_CREATE_SANDBOX_FAILURE
  SWUPDATE_FAILED: 0x30101000, // plus the exit code
  // Ours
  SPACE: own(1),
  NAME_UNSAFE: own(2),
  FILE_SIZE: own(3),
  CRITERIA_NOT_MET: own(4),
  STALLED: own(5),
  TIMED_OUT: own(6),
  CHILD_KILLED: own(7),
  TOO_MANY_INSTALLS: own(0xa),
  FELL_BACK: own(0xc),
  HEALTH: own(0xd),
  SCRIPT_NOT_ALLOWED: own(0xe),
  STEPS_UNSUPPORTED: own(0xf),
  BOOT_STATE: own(0x10),
  JOURNAL: own(0x11),
  TOO_MANY_REBOOTS: own(0x12),
  COMPATIBILITY: own(0x13),
  REPLACED: own(0x14),
  INTERNAL: own(0xff),
} as const

export type ErrorCode = keyof typeof EXTENDED_RESULT_CODE
