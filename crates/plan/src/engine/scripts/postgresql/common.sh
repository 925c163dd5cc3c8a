# Read by the scripts that run next to the server's pod: how they fail and how they reach it.
# shellcheck shell=bash
set -Eeuo pipefail
umask 077
export LC_ALL=C

secret=/run/secrets/minidbaas
work=$(mktemp -d /tmp/minidbaas.XXXXXX)
log=$work/log
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT # the first process of a container ignores signals that it does not trap

fail() {
    echo "$*" >&2
    exit 1
}

fail_with_log() {
    grep -vE 'contains errors|^$' "$log" | sed -E 's/^psql:[^ ]+ //; s/^(LOG|FATAL|WARNING|ERROR): +//' |
        sed -zE 's/\n(DETAIL|HINT|CONTEXT): +/; /g' | tail -n 12 >&2 || :
    exit 1
}

escape() {
    local s=${1//\\/\\\\}
    printf %s "${s//:/\\:}"
}

# connect: from here on the tools of PostgreSQL reach the server as our own user.
connect() {
    printf '*:*:*:*:%s\n' "$(escape "$(<"$secret/admin-password")")" >"$work/pgpass"
    export PGPASSFILE=$work/pgpass PGHOST=$HOST PGPORT=$PORT PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=10
    # Nothing that is said here is for the server's log, its statistics or a list of activities. (The first one is enough for
    # the log. An error is in this script's output.)
    PGOPTIONS='-c log_min_messages=panic -c log_min_error_statement=panic -c log_statement=none -c log_min_duration_statement=-1'
    PGOPTIONS+=' -c track_activities=off -c pg_stat_statements.track=none -c password_encryption=scram-sha-256'
    PGOPTIONS+=' -c default_transaction_read_only=off -c search_path=pg_catalog -c statement_timeout=0'
    export PGOPTIONS
}

sql() { setsid -w psql -XqAt -v ON_ERROR_STOP=1 -v VERBOSITY=terse -f "$1" 2>"$log"; }
