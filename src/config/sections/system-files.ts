import { setting } from '../setting.ts'
import { path } from '../values.ts'

/** Settings that stand in `piAdu` itself: files that this system has. */
export const systemFiles = {
  versionFile: setting(path, '/etc/adu-version', 'its first line is the version of the booted system'),
  kernelCommandLine: setting(path, '/proc/cmdline', 'where the boot script puts `adu.slot=a` or `adu.slot=b`'),
  controlSocket: setting(
    path,
    '/run/pi-adu-agent/control.sock',
    'Unix socket on which the agent shows [what it does](../control/README.md); its owner and group may connect',
  ),
  layersFile: setting(
    path,
    '/etc/pi-adu/layers.json',
    'list of the layers that the image was built with, for `pi-adu status`; it may be missing',
  ),
  flightFolder: setting(
    path,
    '/data/adu-flight',
    'where the image writes down [how far a trial boot came](../domain/flight.ts); it may be missing',
  ),
  stateFile: setting(
    path,
    '/run/pi-adu-agent/agent.json',
    'whether the agent is connected, for shell scripts; belongs on a file system in memory',
  ),
}
