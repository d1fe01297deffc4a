import * as v from 'valibot'
import { setting } from '../setting.ts'

export const contract = {
  contract: setting(
    v.picklist(['current', '2021'], 'must be current or 2021'),
    'current',
    'form of the twin: `2021` for a service that orders download, installation and application one by one ([page](../sources/contract-2021/README.md))',
  ),
}
