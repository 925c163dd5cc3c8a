# Read by quiesce.sh: the times that it reports, and the wait.
# shellcheck shell=bash
[[ ${BUDGET:-} =~ ^[1-9][0-9]{0,6}$ && ${LOCK_WAIT:-} =~ ^[1-9][0-9]{0,6}$ ]] || fail "BUDGET and LOCK_WAIT are numbers of seconds"

# now: milliseconds since 1970, without a process.
now() {
    local micro=${EPOCHREALTIME/./}
    REPLY=${micro%???}
}

# report ACQUIRED RELEASED HELD
report() { echo "{\"acquired\":$1,\"released\":$2,\"held\":$3}" >/dev/termination-log; }

# hold [CHECK]: returns when BUDGET is over or CHECK fails. A trap comes at once, because `wait`, unlike a command in the
# foreground, ends when a signal comes.
hold() {
    local end=$((${EPOCHREALTIME/./} + BUDGET * 1000000))
    while ((${EPOCHREALTIME/./} < end)); do
        [ $# -eq 0 ] || "$@" || return 0
        sleep 0.2 &
        wait $! || :
    done
}
