import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { groupLauncher } from '../../src/steps/launch.ts'
import type { Job, Workers } from '../../src/steps/worker.ts'
import { aService, scriptRunner } from './support.ts'

/** Two programs, one after the other, as apt has them. */
const twice: Workers = {
  script: {
    isRepeatable: true,
    async run(verb, job, signal) {
      await scriptRunner.script?.run(verb, job, signal)
      return (
        (await scriptRunner.script?.run(verb, job, signal)) ?? {
          resultCode: 0,
          extendedResultCode: 0,
          resultDetails: '',
        }
      )
    },
  },
}

test('a service that stops lets the program that runs end, and records its end', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script('sleep 1; echo well') } })
  const running = service.run(order)
  while ((await service.effects()).length === 0) await sleep(20)
  service.orders.stop()
  const result = await running
  assert.ok(typeof result === 'object' && result.resultCode === 600, String(result))
  await service.restart()
  assert.deepEqual(await service.run(order), result)
  assert.deepEqual(await service.effects(), ['install'])
})

test('a service that stops begins no program: the order has no end, and the next service carries it out again', async t => {
  const service = await aService(t, { workers: twice })
  const order = await service.order({ files: { 'a.sh': service.script('sleep 2') } })
  const running = service.run(order)
  while ((await service.effects()).length === 0) await sleep(20)
  const waiting = { ...order, id: 'waiting', verb: 'apply' } as const
  const later = service.run(waiting)
  await sleep(100)
  const stopped = service.orders
  stopped.stop()
  while (stopped.busy) await sleep(20)
  assert.equal('end' in JSON.parse(await readFile(join(service.state, 'orders', `${order.id}.json`), 'utf8')), false)
  await service.restart()
  for (const answer of await Promise.all([running, later])) {
    assert.ok(typeof answer === 'object' && answer.resultCode === 600, String(answer))
  }
  assert.deepEqual((await service.effects()).filter(verb => verb === 'apply').length, 2)
  assert.deepEqual((await service.effects()).filter(verb => verb === 'install').length, 3)
})

test('a program that the stop has kept from starting, or has ended, says nothing about its step', async t => {
  const launcher: typeof groupLauncher = (folder, limits) => {
    const launch: Job['launch'] = groupLauncher(folder, limits)
    return async (command, options) => {
      const launched = await launch(command, options)
      service.orders.stop()
      return launched
    }
  }
  const service = await aService(t, { launcher })
  const order = await service.order({ files: { 'a.sh': service.script('kill -9 $$') } })
  const running = service.run(order)
  while ((await service.effects()).length === 0 || service.orders.busy) await sleep(20)
  await writeFile(join(service.agent, 'a.sh'), '')
  await service.restart()
  assert.match(String(await running), /STEP_UNKNOWN/)
  assert.deepEqual(await service.effects(), ['install'])
})
