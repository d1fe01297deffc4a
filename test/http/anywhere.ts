import { Hosts } from '../../src/domain/hosts.ts'

const all = new Hosts('the test', ['*', 'localhost', '0.0.0.0/0', '::/0'])

/** For tests of anything else: every host is allowed, this machine too. */
export const ANYWHERE = { twin: all, method: all }
