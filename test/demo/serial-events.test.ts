import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jsonLog } from '../../src/adapters/system/log.ts'
import { Publisher } from '../../src/control/publisher.ts'
import type { AgentEvent } from '../../src/view/event.ts'
import { eventIn, eventsIn } from '../bench/event-lines.ts'

const EVENTS: readonly AgentEvent[] = [
  { event: 'agent.started', version: '0.1.0', system: '1.0.0', pid: 300 },
  { event: 'hub.lost', why: 'connect ECONNREFUSED\n10.0.2.2:8883 \u009b31m {"x":1}', retryInMs: 1000 },
  { event: 'install.begin', slot: 'b', file: 'pi-2.0.0.swu', size: 123 },
  { event: 'install.progress', bytes: 12, of: 123 },
  { event: 'reboot', why: 'trial' },
  {
    event: 'result',
    workflowId: 'W',
    resultCode: 0,
    extendedResultCodes: '32100004,00000000',
    resultDetails: '"quoted"',
  },
  { event: 'reported', workflowId: 'W', resultCode: 700 },
  { event: 'mood', mood: 'online' },
]

test('the demo finds each event of the agent in what comes over the serial line', () => {
  const lines: string[] = []
  const publisher = new Publisher(jsonLog(false, [], line => void lines.push(line)))
  for (const event of EVENTS) publisher.tell(event)
  // As journald writes to a console.
  const found = lines.map((line, i) => eventIn(`[   ${i}.123456] pi-adu[300]: ${line.trimEnd()}\r`))
  assert.deepEqual(
    found.map(each => {
      const { time, ...event } = each as AgentEvent & { time: string }
      assert.match(time, /^20\d\d-/)
      return event
    }),
    EVENTS,
  )
})

test('other lines, and torn ones, are no events', () => {
  for (const line of [
    '[    0.1] systemd[1]: {"time":"x","event":"mood","mood":"online"}',
    '[    0.1] pi-adu[300]: {"time":"x","event":"mood","mo',
    '[    0.1] pi-adu[300]: {"time":"x","event":"units.failed","units":"a"}',
    '',
  ])
    assert.equal(eventIn(line), undefined)
})

test('all events of a name are found in a serial text, without the line that is still coming', () => {
  const line = (json: string) => Buffer.from(`[    0.1] pi-adu[300]: ${json}\r\n`).toString('latin1')
  const text = [
    'root@pi:~# [    1.2] usb 1-1: new device {x}\r\n',
    line('{"time":"x","event":"mood","mood":"online"}'),
    line('{"time":"x","event":"hub.lost","why":"größer","retryInMs":5}'),
    line('{"time":"x","event":"mood","mood":"no such mood"}'),
    `{ prompt} ${line('{"time":"x","event":"mood","mood":"failed"}')}`,
    line('{"time":"x","event":"mood","mood":"trial"}').trimEnd(),
  ].join('')
  assert.deepEqual(
    eventsIn(text, 'mood').map(({ mood }) => mood),
    ['online', 'failed'],
  )
  assert.equal(eventsIn(text, 'hub.lost')[0]?.why, 'größer')
})
