#!/bin/bash
# Makes the volume ready for the server. Runs before every start of it, and may be killed at any moment:
#
# - no database yet: one is built aside and moved into place when it is complete and on the disk, so what has the
#   name `data` is never half-made;
# - a database with other credentials than the mounted Secret (a restored snapshot, or a Secret that was lost and made
#   anew): it gets the Secret's passwords, and the role and the database if they are missing; nothing else is touched;
# - a copy of another instance's volume, made by the backup RESTORED_FROM, at its first start: besides, no other role has a
#   password and nothing that worked for the source (replication slots, subscriptions) goes on here;
# - a database with these credentials: nothing to do, no server is started.
#
# The server reads the Secret's files itself (pg_read_file): no name or password passes through this shell, an argument
# list or the environment.
set -Eeuo pipefail
umask 077
export LC_ALL=C

# shellcheck source=../volume.sh
. /etc/minidbaas/volume.sh
data=$volume/data
new=$volume/data.new
secret=/run/secrets/minidbaas
settings=/etc/minidbaas/postgresql.conf
work=$(mktemp -d /tmp/prepare.XXXXXX) # also the place of the temporary server's socket: nobody else may enter
log=$work/log
server=
id=$(<"$secret/id")

leave() {
    # Waited for, or the shell's own notice of it would be the last line.
    [ -z "$server" ] || { kill -KILL "$server"; wait "$server"; } 2>/dev/null || :
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 143' TERM INT # the first process of a container ignores signals that it does not trap

fail() {
    echo "$*" >&2
    exit 1
}

# fail_with [FILE]: what the user reads is the end of this output: the engine's own words, without those after them.
fail_with() {
    grep -vE 'child process exited|initdb: removing|is shut(ting)? down|received (fast|immediate) shutdown|contains errors|^Aborted|^$' \
        "${1:-$log}" | sed -E 's/^psql:[^ ]+ //; s/^LOG: +//' | tail -n 12 >&2 || :
    exit 1
}

# start_server DIR [ARGUMENT...]: a server for this script alone. It has no network, and its log neither takes statements
# nor goes anywhere but to $log. Nothing may run in the background on a database that is not in service: no autovacuum,
# and above all no subscription of the database that a restored snapshot was taken from.
start_server() {
    echo 'local all postgres trust' >"$work/hba"
    postgres -D "$@" -c listen_addresses= -c port=5432 -c "unix_socket_directories=$work" \
        -c unix_socket_permissions=0700 -c "hba_file=$work/hba" -c ssl=off -c autovacuum=off \
        -c max_logical_replication_workers=0 -c logging_collector=off -c log_destination=stderr -c log_line_prefix= \
        -c log_min_messages=warning -c log_min_error_statement=panic -c log_statement=none \
        -c log_min_duration_statement=-1 </dev/null >"$log" 2>&1 &
    server=$!
    # No time limit: crash recovery takes as long as it takes.
    until pg_isready -q -h "$work" -p 5432; do
        kill -0 "$server" 2>/dev/null || { server= && fail_with; }
        sleep 0.03
    done
}

stop_server() {
    kill -INT "$server"
    wait "$server" || { server= && fail_with; }
    server=
}

# Both for a new and for a restored database, therefore repeatable. An error's context would quote the statement with the
# password in it: only its message is passed on.
accounts() {
    PGOPTIONS='-c pg_stat_statements.track=none -c track_activities=off -c default_transaction_read_only=off' \
        psql -XqAt -v ON_ERROR_STOP=1 -v VERBOSITY=terse -h "$work" -p 5432 -U postgres -d postgres >"$work/sql" 2>&1 <<'SQL' || fail_with "$work/sql"
SET password_encryption = 'scram-sha-256';
SET search_path = pg_catalog;
DO $$
DECLARE
    folder CONSTANT text := '/run/secrets/minidbaas/';
    app CONSTANT text := pg_read_file(folder || 'username');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = app) THEN
        EXECUTE format('CREATE ROLE %I', app);
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %L',
        app, pg_read_file(folder || 'password'));
    EXECUTE format('ALTER ROLE postgres PASSWORD %L', pg_read_file(folder || 'admin-password'));
EXCEPTION WHEN OTHERS THEN
    RAISE EXCEPTION '%', SQLERRM;
END $$;
SELECT pg_read_file('/run/secrets/minidbaas/username') AS app, pg_read_file('/run/secrets/minidbaas/database') AS db \gset
SELECT NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db') AS missing \gset
\if :missing
    CREATE DATABASE :"db" OWNER :"app";
\endif
ALTER DATABASE :"db" OWNER TO :"app";
-- The schema public belongs to pg_database_owner, that is: to whoever owns the database. What a user granted on a
-- database is left alone.
SELECT datacl IS NULL AS untouched FROM pg_database WHERE datname = :'db' \gset
\if :untouched
    REVOKE ALL ON DATABASE :"db" FROM PUBLIC;
\endif
-- Nobody works here, and even a temporary table or a large object would be lost from backups of the database.
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
SQL
}

# What the source's clients know is no key to the copy, and what acted for the source does not act for two. Subscriptions are
# changed in their table, which all databases share: ALTER SUBSCRIPTION would need a connection to each, and some allow none.
# Only the line with the numbers is passed on. Repeatable.
neutralise() {
    PGOPTIONS='-c pg_stat_statements.track=none -c track_activities=off -c default_transaction_read_only=off' \
        psql -XqAt -v ON_ERROR_STOP=1 -v VERBOSITY=terse -h "$work" -p 5432 -U postgres -d postgres >"$work/sql" 2>&1 <<'SQL' || fail_with "$work/sql"
SET search_path = pg_catalog;
CREATE TEMP TABLE done (roles bigint, subscriptions bigint);
INSERT INTO done VALUES (0, 0);
DO $$
DECLARE
    role name;
BEGIN
    FOR role IN SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL
        AND rolname NOT IN ('postgres', pg_read_file('/run/secrets/minidbaas/username'))
    LOOP
        EXECUTE format('ALTER ROLE %I PASSWORD NULL', role);
        UPDATE pg_temp.done SET roles = roles + 1;
    END LOOP;
END $$;
WITH changed AS (UPDATE pg_subscription SET subenabled = false, subslotname = NULL WHERE subenabled OR subslotname IS NOT NULL RETURNING oid)
UPDATE pg_temp.done SET subscriptions = (SELECT count(*) FROM changed);
SELECT format('a copy of another instance: %s other roles without password now, %s subscriptions disabled', roles, subscriptions)
FROM pg_temp.done;
SQL
    tail -n 1 "$work/sql"
}

# mark NAME VALUE: a file that is complete and on the disk, as is all that was written before.
mark() {
    sync -f "$volume"
    echo "$2" >"$volume/$1.new"
    sync -f "$volume"
    mv "$volume/$1.new" "$volume/$1"
    sync -f "$volume"
}

[[ $(postgres --version) =~ \)\ ([0-9]+) ]] || fail "cannot tell the version of PostgreSQL"
version=${BASH_REMATCH[1]}

hold_volume
sign_volume
rm -rf "$new"
copied=${RESTORED_FROM:-}
[ ! -e "$volume/restored-from" ] || [ "$(<"$volume/restored-from")" != "$copied" ] || copied=

if [ ! -e "$data" ]; then
    [ -z "$copied" ] || fail "the backup holds no database" # rather than an empty one in its place
    # fsync waits until the end: the interrupted work is thrown away in any case. The user's settings are not used here,
    # none of them matters for a new database; a wrong one is reported by the server itself.
    initdb -D "$new" --username=postgres --pwfile="$secret/admin-password" --auth=scram-sha-256 --encoding=UTF8 \
        --locale=C.UTF-8 --data-checksums --no-sync --no-instructions >"$log" 2>&1 || fail_with
    start_server "$new" -c fsync=off -c max_connections=10
    accounts
    stop_server
    mark credentials-id "$id" # whose passwords the database has
    mv -T "$new" "$data"
    sync -f "$volume"
    exit
fi

[ -f "$data/PG_VERSION" ] || fail "the volume holds data, but not of PostgreSQL"
[ "$(<"$data/PG_VERSION")" = "$version" ] ||
    fail "the volume holds data of PostgreSQL $(<"$data/PG_VERSION"), which PostgreSQL $version cannot read"
chmod 0700 "$data"            # the kubelet opens volumes to the group; the server refuses that
rm -f "$data/postmaster.pid"  # of a killed server, whose number may be another process' in the new container
: >"$data/postgresql.auto.conf" # what apply.sh changed while the server ran; the mounted settings have it by now

# Slots are for those who followed the source. As in a base backup they are left out before the start: with a lower wal_level
# than the source's, the server would not start with them.
[ -z "$copied" ] || rm -rf "$data"/{standby,recovery}.signal "$data"/pg_replslot/*

if [ -n "$copied" ] || [ ! -e "$volume/credentials-id" ] || [ "$(<"$volume/credentials-id")" != "$id" ]; then
    # With the real settings: recovery after a crash needs what they say about replication slots, prepared transactions
    # and libraries with own WAL records.
    start_server "$data" -c config_file="$settings"
    accounts
    [ -z "$copied" ] || neutralise
    stop_server
    mark credentials-id "$id"
    [ -z "${RESTORED_FROM:-}" ] || mark restored-from "$RESTORED_FROM"
fi
