#!/bin/bash
# Looks for damage in a database that was restored for this alone: reads every table with its indexes, then everything once
# more as a dump, which goes nowhere. Runs in a pod of its own.
#
# Exit 0: a line in the termination message says what was read. Exit 1: damaged or missing, in the engine's words. Exit 75: the
# server cannot be reached; to be tried again.
set -e # before the rest: a file that is missing must end this
# shellcheck source=common.sh
. /etc/minidbaas/common.sh
# shellcheck source=client.sh
. /etc/minidbaas/client.sh

lost='(ERROR|error|Error):? ?(20(02|03|05|06|13|55)|1053|1927)'

# wait_for_server: exit 75 when it does not come. A server that damage makes fall comes back and falls again.
wait_for_server() {
    local try
    for ((try = 0; try < $1; try++)); do
        ! echo "SELECT 1;" | sql >"$work/answer" || return 0
        grep -qE "$lost" "$log" || fail_with_log
        sleep 1
    done
    echo "the server cannot be reached" >&2
    exit 75
}

# run WHAT COMMAND...: twice if the server was lost on the way.
run() {
    local what=$1
    shift
    "$@" && return
    grep -qE "$lost" "$log" || fail_with_log "^ERROR|^mysqldump: |^mariadb-dump: "
    wait_for_server 60
    "$@" && return
    grep -qE "$lost" "$log" || fail_with_log "^ERROR|^mysqldump: |^mariadb-dump: "
    wait_for_server 60
    fail "the server falls whenever it is asked to $what"
}

list() { { ours; cat "$work/list.sql"; } | sql --raw >"$work/list"; }
check() { { ours; cat "$work/list"; } | sql >"$work/checked"; }
dump() {
    "$dump" --defaults-file=<(options "$dump") --all-databases --single-transaction --routines --events --force "${more[@]}" \
        2>"$log" | wc -c >"$work/bytes" || ! grep -vE "$harmless" "$log" | grep -qE 'rror'
}

wait_for_server 10
echo "SELECT COUNT(*) FROM information_schema.schemata WHERE CAST(CONVERT(schema_name USING utf8mb4) AS BINARY) = X'$(hex <"$secret/database")';" >"$work/list.sql"
run "list databases" list
[ "$(<"$work/list")" = 1 ] || fail "the database of this instance is not there"

# No views: that they name tables which their user has dropped is no damage.
tables="table_type != 'VIEW' AND table_type != 'SYSTEM VIEW' AND table_type NOT LIKE '%TEMPORARY%' AND table_type != 'SEQUENCE'
    AND table_schema NOT IN ('information_schema', 'performance_schema')"
cat >"$work/list.sql" <<SQL
SELECT CONCAT('CHECK TABLE \`', REPLACE(table_schema, '\`', '\`\`'), '\`.\`', REPLACE(table_name, '\`', '\`\`'), '\` EXTENDED;')
    FROM information_schema.tables WHERE $tables;
SQL
run "list tables" list
tables_number=$(grep -c '^CHECK TABLE ' "$work/list" || :)
run "check tables" check
# The client's exit code tells nothing here. A warning counts when the table's status says so, which is its last line.
if cut -f 1,3- "$work/checked" | grep -E $'^[^\t]*\t([Ee]rror\t|status\t)' | grep -vqE $'\tstatus\t(OK|Table is already up to date)$'; then
    grep -E $'\t([Ee]rror|[Ww]arning)\t' "$work/checked" | cut -f 1,4- | tr '\t' ' ' | tail -n 12 >&2
    exit 1
fi

cat >"$work/list.sql" <<SQL
SELECT COUNT(DISTINCT table_schema, table_name, index_name) FROM information_schema.statistics
    WHERE table_schema NOT IN ('information_schema', 'performance_schema');
SQL
run "list indexes" list
indexes_number=$(<"$work/list")

dumped="no program for a dump in this image"
dump=mysqldump more=(--set-gtid-purged=OFF)
[ "$engine" != MariaDB ] || dump=mariadb-dump more=()
# A view whose tables or definer are gone (1356, 1449) is its user's affair.
harmless='\b(1356|1449)\b|[Ww]arning'
if command -v "$dump" >"$work/path"; then
    run "dump itself" dump
    dumped="$((($(<"$work/bytes") + 1048575) / 1048576)) MiB dumped"
fi
echo "$tables_number tables and $indexes_number indexes checked, $dumped" | tee /dev/termination-log
