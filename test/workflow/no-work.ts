import { AgentError } from '../../src/domain/errors.ts'
import type { WorkFolder } from '../../src/ports/work-folder.ts'

const none = async (): Promise<never> => {
  throw new AgentError('WORK_FOLDER', 'this device has no work folder')
}

/** For devices that take images only. */
export const noWorkFolder: WorkFolder = {
  where: () => '/nowhere',
  has: none,
  write: none,
  free: none,
  keepOnly: async () => {},
}
