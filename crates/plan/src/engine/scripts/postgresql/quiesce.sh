#!/bin/bash
# The protocol of the other engines' quiesce.sh for one that needs no lock: it recovers from any atomic copy of its volume. A
# checkpoint makes that short. Nothing is held back, so `held` is 0.
#
# /tmp/held exists when the checkpoint is done; SIGTERM ends this (exit 0), as does the end of BUDGET seconds (exit 3). Either
# way {"acquired":MS,"released":MS,"held":0} is the termination message. Exit 1: the server refused.
set -e # before the rest: a file that is missing must end this
# shellcheck source=common.sh
. /etc/minidbaas/common.sh
# shellcheck source=../quiesce_common.sh
. /etc/minidbaas/quiesce_common.sh

connect
now
begin=$REPLY
end_with() {
    trap '' TERM INT
    now
    report "$begin" "$REPLY" 0
    exit "$1"
}

# It goes on in the server when we no longer wait for it, and the copy is as good without.
PGOPTIONS+=" -c statement_timeout=${LOCK_WAIT}s"
echo CHECKPOINT >"$work/checkpoint.sql"
sql "$work/checkpoint.sql" &
wait $! || {
    grep -q 'statement timeout' "$log" || fail_with_log
    echo "the checkpoint takes longer than $LOCK_WAIT s: the copy will need more recovery"
}
trap 'end_with 0' TERM INT
: >/tmp/held
hold
rm -f /tmp/held
end_with 3
