import * as v from 'valibot'
import { ALLOWANCES } from '../../bundle/allowance.ts'
import { section, setting } from '../setting.ts'

export const bundle = section({
  allow: setting(
    v.array(v.picklist(ALLOWANCES, `must be some of ${ALLOWANCES.join(', ')}`), 'must be a list'),
    [],
    '[what bundles may do](../bundle/README.md) beyond writing the slot, by name',
  ),
})
