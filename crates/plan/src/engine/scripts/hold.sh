#!/bin/bash
# Keeps the server down while its volume is copied: the first init container of a pod whose other containers come after it.
# Ends at HOLD_UNTIL (unix time), at the latest HOLD_SECONDS after its begin if that is set: the node's clock may be late.
set -Eeuo pipefail
export LC_ALL=C
# shellcheck source=volume.sh
. /etc/minidbaas/volume.sh

pause=
trap '[ -z "$pause" ] || kill "$pause" 2>/dev/null || :; echo "told to end: the server may start"; exit 143' TERM INT

[[ ${HOLD_UNTIL:-} =~ ^[0-9]{1,12}$ && ${HOLD_SECONDS:-0} =~ ^[0-9]{1,9}$ ]] || {
    echo "HOLD_UNTIL and HOLD_SECONDS are numbers of seconds" >&2
    exit 1
}
seconds=$((HOLD_UNTIL - EPOCHSECONDS))
[ -z "${HOLD_SECONDS:-}" ] || ((seconds <= HOLD_SECONDS)) || seconds=$HOLD_SECONDS
((seconds > 0)) || seconds=0
echo "the server is kept down for at most $seconds s"
if ((seconds > 0)); then
    sleep "$seconds" & # in the foreground it would keep the trap waiting
    pause=$!
    wait "$pause"
fi
echo "the time is over: the server may start"
