#!/bin/bash
# Holds writes, commits at the latest, while the volume is copied. Runs in a pod of its own, next to the server's:
#
# - /tmp/held exists as soon as they are held;
# - SIGTERM lets go (exit 0), as does the end of BUDGET seconds or of the session (exit 3). Either way one line is in the
#   termination message: {"acquired":MS,"released":MS,"held":MS}. It begins before the first lock is asked for and ends when
#   the server said that it has none any more, so writes were not held for longer;
# - exit 1: no lock within LOCK_WAIT seconds; the engine's words are in the output.
#
# A lock is the session's: the server frees it at once when this pod dies, and after BUDGET seconds when all it sees is
# silence. Hence the session sleeps in the server's read of its connection and not in a statement.
set -e # before the rest: a file that is missing must end this
# shellcheck source=common.sh
. /etc/minidbaas/common.sh
# shellcheck source=client.sh
. /etc/minidbaas/client.sh
# shellcheck source=../quiesce_common.sh
. /etc/minidbaas/quiesce_common.sh

begin=
held=

# let_go CODE: not twice, and no other signal counts any more.
let_go() {
    trap '' TERM INT
    local code=$1
    if [ -n "$held" ]; then
        # The answer tells whether the lock was there until now.
        { printf '%s\n' "$unlock" "SELECT 'free';" >&"$in"; } 2>/dev/null || :
        answer 3 free || code=3
    fi
    kill -KILL "$process" 2>/dev/null || :
    wait "$process" 2>/dev/null || :
    process=
    now
    [ -z "$begin" ] || report "$begin" "$REPLY" $((REPLY - begin))
    exit "$code"
}

# The client itself notices only with its next statement that the server has ended the session. 08 is CLOSE_WAIT.
alive() {
    kill -0 "$process" 2>/dev/null || return 1
    local state inode table
    for table in /proc/net/tcp /proc/net/tcp6; do
        [ -r "$table" ] || continue
        while read -r _ _ _ state _ _ _ _ _ inode _; do
            [ "$state" != 08 ] || [[ $sockets != *"[$inode]"* ]] || return 1
        done <"$table"
    done
}

if [ "$engine" = MariaDB ]; then
    lock=("BACKUP STAGE START;" "BACKUP STAGE FLUSH;" "BACKUP STAGE BLOCK_DDL;" "BACKUP STAGE BLOCK_COMMIT;")
    unlock="BACKUP STAGE END;"
else
    lock=("LOCK INSTANCE FOR BACKUP;" "FLUSH TABLES WITH READ LOCK;")
    unlock="UNLOCK TABLES; UNLOCK INSTANCE;"
fi

# Both ends of the pipes stay open here, or opening them would wait for the other side.
mkfifo "$work/in" "$work/out"
exec {in}<>"$work/in" {out}<>"$work/out"
# Not as a function: the process would be a shell's, and the lock its child's.
"$client" --defaults-file=<(options "$client") --batch --skip-column-names --unbuffered <"$work/in" >"$work/out" 2>"$log" &
process=$!
trap 'let_go 143' TERM INT

# answer SECONDS WORD: whether the session says this word in time. A session that has ended never does.
answer() {
    local line='' part end=$((EPOCHSECONDS + $1))
    while kill -0 "$process" 2>/dev/null && ((EPOCHSECONDS < end)); do
        # The client writes a word and its end one after the other; a read that ends in between has had only a part.
        if IFS= read -r -t 0.2 part <&"$out"; then
            [ "$line$part" != "$2" ] || return 0
            line=
        else
            line+=$part
        fi
    done
    return 1
}

{
    ours
    for name in wait_timeout interactive_timeout net_read_timeout net_write_timeout; do
        echo "SET SESSION $name = $BUDGET;"
    done
    echo "SET SESSION lock_wait_timeout = $LOCK_WAIT;"
    echo "SELECT 'ready';"
} >&"$in"
if ! answer 30 ready; then
    [ -s "$log" ] || echo "ERROR: the server did not answer within 30 s" >>"$log"
    fail_with_log
fi
sockets=$(readlink /proc/"$process"/fd/* 2>/dev/null || :)

now
begin=$REPLY
printf '%s\n' "${lock[@]}" "SELECT 'held';" >&"$in"
if ! answer $((LOCK_WAIT + 1)) held; then
    words=$(grep -E '^ERROR' "$log" | tail -n 1 || :)
    echo "${words:+$words: }no lock within $LOCK_WAIT s; a long statement or transaction, or another backup, may hold it" >&2
    exit 1
fi
held=yes
trap 'let_go 0' TERM INT
: >/tmp/held
hold alive
rm -f /tmp/held
let_go 3
