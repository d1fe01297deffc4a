// /sbin/init of the workbench's images. The bootloader tells it by environment where things lie:
// BOARD_NODE, BOARD_AGENT, BOARD_CONFIG, BOARD_ROOT, BOARD_WATCHDOG; BOARD_STEPS, BOARD_STEP_SETTINGS, BOARD_STEP_STATE, BOARD_STEP_SOCKET; in a trial BOARD_FLIGHT, the
// folder of the flight record.

/**
 * Starts the agent and starts it again when it ends by itself, as systemd would: five times within ten seconds,
 * then it gives up. While it lives it feeds the watchdog, as systemd does as process 1.
 */
export const INIT = `#!/bin/sh
agent=
stop() {
  # The whole group got the signal; the agent may still be finishing.
  [ -n "$agent" ] && wait "$agent"
  exit 0
}
trap stop TERM INT

milestone() {
  [ -z "$BOARD_FLIGHT" ] || echo "$1 $(cut -d ' ' -f 1 /proc/uptime) $2" >> "$BOARD_FLIGHT/boots"
}
milestone init

while :; do : > "$BOARD_WATCHDOG"; sleep 1; done &

# In place of a socket unit, which would start it when the agent connects.
if [ -e "$BOARD_STEP_SETTINGS" ]; then
  while :; do
    "$BOARD_NODE" "$BOARD_STEPS" --socket "$BOARD_STEP_SOCKET" --state "$BOARD_STEP_STATE" --settings "$BOARD_STEP_SETTINGS"
    sleep 0.2
  done &
fi

starts=0
since=$(date +%s)
while [ "$starts" -lt 5 ]; do
  starts=$((starts + 1))
  "$BOARD_NODE" "$BOARD_AGENT" run --config "$BOARD_CONFIG" --refused "$BOARD_ROOT/../config-refused" &
  agent=$!
  wait "$agent"
  milestone agent-ended "exited $?"
  agent=
  sleep 0.2
  now=$(date +%s)
  if [ $((now - since)) -ge 10 ]; then
    starts=0
    since=$now
  fi
done
echo "agent ended too often" >&2
exit 1
`

/** From outside, a kernel panic: process 1 ends. */
export const PANICKING_INIT = `#!/bin/sh
echo "Kernel panic - not syncing: Attempted to kill init!" >&2
exit 1
`

/** Comes up to nothing and never feeds the watchdog. */
export const HANGING_INIT = `#!/bin/sh
while :; do sleep 1; done
`
