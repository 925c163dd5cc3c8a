#!/bin/bash
# Looks for damage in a database that was restored for this alone: reads every table and index with amcheck, then everything
# once more as a dump, which goes nowhere. Runs in a pod of its own.
#
# Exit 0: a line in the termination message says what was read. Exit 1: damaged or missing, in the engine's words. Exit 75: the
# server cannot be reached; to be tried again.
set -e # before the rest: a file that is missing must end this
# shellcheck source=common.sh
. /etc/minidbaas/common.sh

connect
# ended WHAT: a check has failed. A server that is not there has said nothing about its data; one that is back after a fall did.
ended() {
    local try
    for ((try = 0; try < 30; try++)); do
        ! pg_isready -q -t 3 || fail_with_log
        sleep 1
    done
    echo "the server cannot be reached" >&2
    exit 75
}
pg_isready -q -t 10 || {
    echo "the server cannot be reached" >&2
    exit 75
}

cat >"$work/exists.sql" <<'SQL'
\set db `cat /run/secrets/minidbaas/database`
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'db');
SQL
exists=$(sql "$work/exists.sql") || ended
[ "$exists" = t ] || fail "the database of this instance is not there"

# What takes no connections would be passed over by all that follows. (-2 marks what an interrupted DROP DATABASE left.)
cat >"$work/open.sql" <<'SQL'
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS true', datname) FROM pg_database
    WHERE NOT datallowconn AND datname <> 'template0' AND datconnlimit <> -2 \gexec
SQL
sql "$work/open.sql" >"$work/opened" || ended

# Words of damage are on standard output, others on standard error, as are with --verbose the names of what is being read.
checked="no amcheck in this image"
echo "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck');" >"$work/amcheck.sql"
amcheck=$(sql "$work/amcheck.sql") || ended
if [ "$amcheck" = t ] && command -v pg_amcheck >"$work/path"; then
    pg_amcheck --all --install-missing --heapallindexed --parent-check --verbose >"$work/damage" 2>"$work/verbose" || {
        { cat "$work/damage"; grep -E '^pg_amcheck: (error|warning)' "$work/verbose"; } >"$log" || :
        ended
    }
    tables=$(grep -c 'checking heap table' "$work/verbose" || :) indexes=$(grep -c 'checking btree index' "$work/verbose" || :)
    checked="$tables tables and $indexes indexes checked"
fi
bytes=$(pg_dumpall --no-sync 2>"$log" | wc -c) || ended
echo "$checked, $(((bytes + 1048575) / 1048576)) MiB dumped" | tee /dev/termination-log
