/**
 * Commands of the Azure CLI that our pages use, with those of their options that we have looked up. Sources: Azure CLI 2.45.0
 * as Debian 12 packages it (`command_modules/*` of python3-azure-cli); files of the extension `azure-iot`, from about 0.24 (repository
 * Azure/azure-iot-cli-extension: `azext_iot/commands.py`, `_params.py`, `deviceupdate/command_map.py`, `deviceupdate/params.py`);
 * Microsoft's reference for `az iot dps connection-string`, `az iot hub connection-string` and `az iot dps enrollment-group`.
 * None was run. A new command on a page is looked up first, then added here.
 */
export const AZ_COMMANDS: Readonly<Record<string, readonly string[]>> = {
  login: [],
  'extension add': ['name', 'version', 'upgrade'],
  'group create': ['name', 'location', 'tags'],
  'group delete': ['name', 'yes', 'no-wait'],
  'role assignment create': ['role', 'assignee', 'assignee-object-id', 'scope'],
  'storage account create': ['name', 'resource-group', 'sku', 'location'],
  'storage container create': ['name', 'account-name', 'auth-mode'],
  'storage container generate-sas': [
    'name',
    'account-name',
    'permissions',
    'expiry',
    'auth-mode',
    'as-user',
    'https-only',
  ],

  'iot hub create': ['name', 'resource-group', 'sku', 'unit', 'location'],
  'iot hub show': ['name', 'resource-group'],
  'iot hub connection-string show': ['hub-name', 'policy-name', 'key-type', 'all', 'resource-group'],
  'iot hub device-identity create': ['hub-name', 'device-id', 'auth-method', 'edge-enabled', 'resource-group'],
  'iot hub device-identity connection-string show': ['hub-name', 'device-id', 'key-type', 'resource-group'],
  'iot hub device-twin update': ['hub-name', 'device-id', 'tags', 'desired', 'resource-group'],

  'iot dps create': ['name', 'resource-group', 'sku', 'unit', 'location'],
  'iot dps show': ['name', 'resource-group'],
  'iot dps linked-hub create': ['dps-name', 'resource-group', 'hub-name', 'connection-string', 'allocation-weight'],
  'iot dps connection-string show': ['dps-name', 'policy-name', 'key-type', 'all', 'resource-group'],
  'iot dps enrollment-group create': [
    ...['dps-name', 'resource-group', 'enrollment-id', 'certificate-path', 'ca-name', 'iot-hubs', 'primary-key'],
    ...['initial-twin-tags', 'provisioning-status', 'allocation-policy', 'reprovision-policy'],
  ],
  'iot dps enrollment-group show': ['dps-name', 'resource-group', 'enrollment-id'],
  'iot dps enrollment-group registration list': ['dps-name', 'resource-group', 'enrollment-id'],

  'iot du account create': ['account', 'resource-group', 'sku', 'location'],
  'iot du account show': ['account', 'resource-group'],
  'iot du instance create': ['account', 'instance', 'iothub-ids', 'resource-group'],
  'iot du device list': ['account', 'instance', 'filter', 'resource-group'],
  'iot du device import': ['account', 'instance', 'import-type', 'resource-group'],
  'iot du device group list': ['account', 'instance', 'order-by', 'resource-group'],
  'iot du device class list': ['account', 'instance', 'group-id', 'filter', 'resource-group'],
  'iot du update list': ['account', 'instance', 'by-provider', 'search', 'filter', 'resource-group'],
  'iot du update stage': [
    ...['account', 'instance', 'resource-group', 'storage-account', 'storage-container', 'storage-subscription'],
    ...['manifest-path', 'then-import', 'overwrite', 'friendly-name'],
  ],
  'iot du device deployment create': [
    ...['account', 'instance', 'resource-group', 'group-id', 'deployment-id', 'class-id', 'start-time'],
    ...['update-provider', 'update-name', 'update-version', 'failed-count', 'failed-percentage'],
    ...['rollback-update-provider', 'rollback-update-name', 'rollback-update-version'],
  ],
  'iot du device deployment show': ['account', 'instance', 'resource-group', 'group-id', 'deployment-id', 'status'],
  'iot du device deployment cancel': [
    ...['account', 'instance', 'resource-group', 'group-id', 'deployment-id', 'class-id'],
  ],
  'iot du device deployment retry': ['account', 'instance', 'resource-group', 'group-id', 'deployment-id', 'class-id'],
}

/** Options of every command of the Azure CLI. */
export const AZ_EVERYWHERE = ['query', 'output', 'subscription']
