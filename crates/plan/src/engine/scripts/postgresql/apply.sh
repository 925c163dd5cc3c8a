#!/bin/bash
# Changes a running server. Runs in a pod of its own, next to the server's, with the candidate settings mounted:
#
# 1. the engine itself reads the candidate: what the server would refuse at its next start ends here, nothing changed;
# 2. with REVISION: the role gets the Secret's password;
# 3. the parameters named in `changes` get the value that they will have after the next start.
#
# Everything is repeatable. Exit 75: the mounted Secret is not yet the one that REVISION means; to be tried again.
set -e # before the rest: a file that is missing must end this
# shellcheck source=common.sh
. /etc/minidbaas/common.sh

candidate=/etc/minidbaas-candidate

# candidate_value NAME [ARGUMENT...]: what the parameter is with the candidate settings, in the server's own spelling and
# base unit.
candidate_value() {
    postgres -D "$work/data" -c "config_file=$candidate/settings" "${@:2}" -C "$1" 2>"$log"
}

# The empty database is what the server needs to get as far as to load the libraries and to check parameters against each
# other. shared_memory_size is the name of a parameter that is computed after all of that.
initdb -D "$work/data" --username=postgres --auth=peer --encoding=UTF8 --locale=C --no-sync --no-instructions >"$log" 2>&1 || fail_with_log
candidate_value shared_memory_size -c log_destination=stderr -c log_line_prefix= -c lc_messages=C >/dev/null || fail_with_log

[ -z "${REVISION:-}" ] || [ "$(<"$secret/revision")" = "$REVISION" ] || {
    echo "the Secret that is mounted here is not yet the one of revision $REVISION" >&2
    exit 75
}

connect

if [ -n "${REVISION:-}" ]; then
    # \password computes the SCRAM verifier here, so the password itself never travels. It asks the terminal, or standard
    # input where there is none, hence setsid.
    cat >"$work/password.sql" <<'SQL'
\set app `cat /run/secrets/minidbaas/username`
\password :"app"
SQL
    password=$(<"$secret/password")
    printf '%s\n%s\n' "$password" "$password" | sql "$work/password.sql" || fail_with_log
fi

hex() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }
rows=
while IFS=$'\t' read -r name _ || [ -n "$name" ]; do
    [ -n "$name" ] || continue
    [[ $name =~ ^[a-z_][a-z0-9_.]*$ ]] || fail "$name is not the name of a parameter"
    # The settings that are mounted into the server's pod may still have the former value until the next start, so a
    # parameter that is no longer set gets its default here. A library's parameter is not known here: the server tells it.
    if value=$(candidate_value "$name"); then value="convert_from('\\x$(hex "$value")', 'UTF8')"; else value=NULL; fi
    rows+="${rows:+, }('$name', $value)"
done <"$candidate/changes"
[ -n "$rows" ] || exit 0

# Some parameters are lists of quoted names: these must come as several strings.
{
    echo "CREATE TEMP TABLE change (name, value) AS SELECT name, coalesce(value, (SELECT boot_val FROM pg_settings WHERE lower(pg_settings.name) = v.name)) FROM (VALUES $rows) AS v (name, value);"
    cat <<'SQL'
SELECT format('ALTER SYSTEM SET %s = %s', name, CASE
        WHEN value IS NULL THEN 'DEFAULT'
        WHEN name IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries',
            'shared_preload_libraries', 'unix_socket_directories')
        THEN coalesce((
            SELECT string_agg(quote_literal(CASE WHEN part[1] IS NOT NULL THEN replace(part[1], '""', '"')
                WHEN name IN ('search_path', 'temp_tablespaces') THEN lower(rtrim(part[2])) ELSE rtrim(part[2]) END), ', ' ORDER BY n)
            FROM regexp_matches(value, '"((?:[^"]|"")*)"|([^,[:space:]][^,]*)', 'g') WITH ORDINALITY AS list (part, n)), '''''')
        ELSE quote_literal(value) END)
FROM change \gexec
SELECT extract(epoch FROM clock_timestamp());
SELECT pg_reload_conf() \g /dev/null
SQL
} >"$work/changes.sql"
asked=$(sql "$work/changes.sql") || fail_with_log

# Each of these is a new connection: it has the settings of the server's main process, once that has read its files.
cat >"$work/loaded.sql" <<SQL
SELECT extract(epoch FROM pg_conf_load_time()) > $asked;
SQL
cat >"$work/errors.sql" <<SQL
SELECT format('parameter "%s": %s', name, error) FROM pg_file_settings WHERE error IS NOT NULL;
SQL
for ((try = 0; ; try++)); do
    loaded=$(sql "$work/loaded.sql") || fail_with_log
    [ "$loaded" != t ] || break
    ((try < 50)) || fail "the server did not take its new settings: $(sql "$work/errors.sql")"
    sleep 0.2
done
cat >"$work/refused.sql" <<SQL
SELECT format('parameter "%s" is still %s: %s', s.name, current_setting(s.name), CASE WHEN s.pending_restart
    THEN 'the server needs a restart' ELSE 'set by ' || s.source END)
FROM (VALUES $rows) AS change (name, value) JOIN pg_settings s ON lower(s.name) = change.name
WHERE s.pending_restart OR (s.source NOT IN ('database', 'user', 'database user', 'client') AND s.sourcefile IS DISTINCT FROM
    current_setting('data_directory') || '/postgresql.auto.conf' AND change.value IS NOT NULL);
SQL
refused=$(sql "$work/refused.sql") || fail_with_log
[ -z "$refused" ] || fail "$refused"
