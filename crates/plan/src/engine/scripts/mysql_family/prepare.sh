#!/bin/bash
# Makes the volume ready for the server, MySQL or MariaDB. Runs before every start of it, and may be killed at any moment:
#
# - no database yet: one is built aside and moved into place when it is complete and on the disk, so what has the
#   name `data` is never half-made;
# - a database with other credentials than the mounted Secret (a restored snapshot, or a Secret that was lost and made
#   anew): it gets the Secret's passwords, and the user and the database if they are missing; nothing else is touched;
# - a copy of another instance's volume, made by the backup RESTORED_FROM, at its first start: besides, no other account can
#   log in and nothing that worked for the source (events, replication) goes on here;
# - a database with these credentials: nothing to do, no server is started.
set -e # before the rest: a file that is missing must end this
# shellcheck source=common.sh
. /etc/minidbaas/common.sh
# shellcheck source=../volume.sh
. /etc/minidbaas/volume.sh

data=$volume/data
new=$volume/data.new
id=$(<"$secret/id")

# The server's own settings count from the beginning, because some cannot be changed later (innodb_page_size,
# lower_case_table_names). These arguments come after them: no network, a log in $log, nothing that runs by itself.
arguments=(--defaults-file=/etc/minidbaas/my.cnf --skip-networking "--socket=$work/socket" "--pid-file=$work/pid"
    --general-log=OFF --slow-query-log=OFF --read-only=OFF --lc-messages=en_US)
if [ "$engine" = MariaDB ]; then
    arguments+=(--skip-log-error --skip-slave-start --event-scheduler=OFF)
else
    arguments+=(--skip-replica-start --event-scheduler=DISABLED --super-read-only=OFF)
fi

# user ACCOUNT PASSWORD, both SQL expressions.
user() {
    execute "'CREATE USER IF NOT EXISTS ', $1, ' ', $identified, QUOTE($2)"
    password "$1" "$2"
}

# For a new and for a restored database, therefore repeatable. In a grant, _ and % of a database's name are wildcards
# unless a backslash is before them.
accounts() {
    echo "SET @admin_password = $(value admin-password);"
    echo "SET @app_password = $(value password), @db = $(value database);"
    local admin
    for admin in "'root@localhost'" "'minidbaas@\\'%\\''"; do
        user "$admin" @admin_password
        execute "'GRANT ALL ON *.* TO ', $admin, ' WITH GRANT OPTION'"
    done
    user @app @app_password
    execute "'CREATE DATABASE IF NOT EXISTS \`', REPLACE(@db, '\`', '\`\`'), '\`'"
    echo "SET @pattern = REPLACE(REPLACE(REPLACE(@db, '\\\\', '\\\\\\\\'), '_', '\\\\_'), '%', '\\\\%');"
    execute "'GRANT ALL ON \`', REPLACE(@pattern, '\`', '\`\`'), '\`.* TO ', @app"
}

first_accounts() {
    session
    echo "USE mysql;"
    if [ "$engine" = MariaDB ]; then
        mariadb-tzinfo-to-sql --skip-write-binlog /usr/share/zoneinfo
        # The system tables come with accounts of root without a password for other addresses.
        echo "DELETE FROM mysql.global_priv WHERE User = '' OR User = 'root' AND Host != 'localhost';"
        echo "DELETE FROM mysql.proxies_priv WHERE User = '' OR User = 'root' AND Host != 'localhost';"
        echo "FLUSH PRIVILEGES;"
    else
        mysql_tzinfo_to_sql /usr/share/zoneinfo
    fi 2>"$work/timezones"
    accounts
}

# Writing without waiting for the disk is what makes this fast. It is waited for at the end; interrupted work is thrown
# away. Named time zones, and thus a default one, exist only after it.
build() {
    arguments+=("--datadir=$new" --skip-log-bin --default-time-zone=SYSTEM)
    if [ "$engine" = MariaDB ]; then
        mariadb-install-db "${arguments[@]}" --auth-root-authentication-method=normal --skip-test-db --cross-bootstrap \
            --debug-no-sync >"$log" 2>&1 || fail_with_log
        mariadbd "${arguments[@]}" --debug-no-sync --bootstrap < <(first_accounts) >"$log" 2>&1 || fail_with_log
    else
        mysqld "${arguments[@]}" --innodb-flush-method=nosync --initialize-insecure --init-file=<(first_accounts) \
            >"$log" 2>&1 || fail_with_log
    fi
}

# An init file needs no password. Its last statement ends the server, which goes on after an error in it. In all else it is
# the real server: without its binary log, recovery after a crash would undo committed transactions.
rekey() {
    refused() { grep -qE '^ERROR: [0-9]+|MY-000061' "$log"; }
    [ "$engine" = MariaDB ] || arguments+=(--mysqlx=OFF --innodb-flush-log-at-trx-commit=1 --performance-schema=OFF)
    local last="SHUTDOWN;" killed=
    [ -z "$copied" ] || last=
    : >"$log"
    "$program" "${arguments[@]}" --init-file=<(
        session
        echo "SET SESSION TRANSACTION READ WRITE;"
        accounts
        [ -z "$last" ] || echo "$last"
    ) </dev/null >"$log" 2>&1 &
    process=$!
    while kill -0 "$process" 2>/dev/null; do
        ! refused || fail_with_log
        # An init file can neither count nor change events; a connection is served only when the file is through.
        if [ -n "$copied" ] && [ -S "$work/socket" ] && query "SELECT 1;" >"$work/answer"; then
            ! refused || fail_with_log
            neutralise
            end
            copied=
        fi
        sleep 0.1
    done
    [ -z "$copied" ] || fail_with_log
    # Of a process that was killed the shell has a notice of its own.
    wait "$process" 2>/dev/null || [ -n "$killed" ] || { process= && fail_with_log; }
    process=
    ! refused || fail_with_log
}

# MySQL takes a second and a half for a clean stop, whatever there is to do. What was done here is committed and on the disk,
# and so recovered by the next start, from the log since the last checkpoint. Little log is read faster than that.
end() {
    local name lsn current='' checkpoint=''
    if [ "$engine" = MySQL ]; then
        query "SHOW GLOBAL STATUS LIKE 'Innodb_redo_log_%_lsn';" >"$work/answer" || fail_with_query
        while IFS=$'\t' read -r name lsn; do
            case $name in
                *_current_lsn) current=$lsn ;;
                *_checkpoint_lsn) checkpoint=$lsn ;;
            esac
        done <"$work/answer"
        if [[ $current && $checkpoint ]] && ((current - checkpoint < 64 << 20)); then
            killed=yes
            kill -KILL "$process"
            return
        fi
    fi
    query "SHUTDOWN;" || fail_with_query
}

# query TEXT...: runs it as root, by the password of the init file.
query() {
    { session; echo "SET SESSION TRANSACTION READ WRITE;"; printf '%s\n' "$@"; } | "$client" --defaults-file=<(
        password=$(<"$secret/admin-password")
        password=${password//\\/\\\\}
        printf '[client]\nuser=root\nprotocol=socket\nsocket=%s\npassword="%s"\n' "$work/socket" "${password//\"/\\\"}"
    ) --batch --raw --skip-column-names 2>"$work/query.log"
}

fail_with_query() {
    log=$work/query.log
    fail_with_log
}

# What the source's clients know is no key to the copy, and what acted for the source does not act for two. The accounts are
# locked in their table: an ALTER USER fails for all if the plug-in of one is not there. Repeatable.
neutralise() {
    local others locked disabled statements
    others="CAST(CONVERT(User USING utf8mb4) AS BINARY) NOT IN ('mysql.sys', 'mysql.session', 'mysql.infoschema', 'mariadb.sys')
        AND NOT (User = 'root' AND Host = 'localhost') AND NOT (User = 'minidbaas' AND Host = '%')
        AND NOT (Host = '%' AND CAST(CONVERT(User USING utf8mb4) AS BINARY) = X'$(hex <"$secret/username")')"
    if [ "$engine" = MariaDB ]; then
        locked=$(query "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '\$.account_locked', true) WHERE $others
            AND NOT COALESCE(JSON_VALUE(Priv, '\$.is_role'), 0) AND NOT COALESCE(JSON_VALUE(Priv, '\$.account_locked'), 0);" \
            "SELECT ROW_COUNT();" "FLUSH PRIVILEGES;") || fail_with_query
        # Events begin only with the next start.
        disabled=$(query "UPDATE mysql.event SET status = 'DISABLED' WHERE status = 'ENABLED';" "SELECT ROW_COUNT();") || fail_with_query
    else
        # A second password, which ALTER USER leaves as it is, would also be the source's.
        locked=$(query "UPDATE mysql.user SET account_locked = 'Y' WHERE $others AND account_locked = 'N';" "SELECT ROW_COUNT();" \
            "UPDATE mysql.user SET User_attributes = JSON_REMOVE(User_attributes, '\$.additional_password')
                WHERE JSON_CONTAINS_PATH(User_attributes, 'one', '\$.additional_password');" \
            "FLUSH PRIVILEGES;" "RESET REPLICA ALL;") || fail_with_query
        # Its definer would be who alters it, so it is named again.
        query "SELECT COUNT(*) FROM information_schema.events WHERE status = 'ENABLED';" "SELECT CONCAT('ALTER DEFINER=\`',
            REPLACE(LEFT(definer, CHAR_LENGTH(definer) - CHAR_LENGTH(SUBSTRING_INDEX(definer, '@', -1)) - 1), '\`', '\`\`'), '\`@\`',
            REPLACE(SUBSTRING_INDEX(definer, '@', -1), '\`', '\`\`'), '\` EVENT \`', REPLACE(event_schema, '\`', '\`\`'), '\`.\`',
            REPLACE(event_name, '\`', '\`\`'), '\` DISABLE;') FROM information_schema.events WHERE status = 'ENABLED';" \
            >"$work/events" || fail_with_query
        { read -r disabled; statements=$(cat); } <"$work/events"
        [ -z "$statements" ] || query "$statements" >"$work/answer" || fail_with_query
    fi
    echo "a copy of another instance: $locked other accounts locked, $disabled events disabled"
}

# mark NAME VALUE: a file that is complete and on the disk, as is all that was written before.
mark() {
    sync -f "$volume"
    echo "$2" >"$volume/$1.new"
    sync -f "$volume"
    mv "$volume/$1.new" "$volume/$1"
    sync -f "$volume"
}

hold_volume
sign_volume
copied=${RESTORED_FROM:-}
[ ! -e "$volume/restored-from" ] || [ "$(<"$volume/restored-from")" != "$copied" ] || copied=
rm -rf "$new"
if [ ! -e "$data" ]; then
    [ -z "$copied" ] || fail "the backup holds no database" # rather than an empty one in its place
    build
    mark version "$engine $series"
    mark credentials-id "$id" # whose passwords the database has
    mv -T "$new" "$data"
    sync -f "$volume"
    exit
fi

[ -e "$data/mysql.ibd" ] || [ -d "$data/mysql" ] || fail "the volume holds data, but not of $engine"
[ ! -e "$volume/version" ] || [ "$(<"$volume/version")" = "$engine $series" ] ||
    fail "the volume holds data of $(<"$volume/version"), which is not for $engine $series"
chmod 0700 "$data"
rm -f "$data"/*.pid /run/mysqld/*.sock /run/mysqld/*.sock.lock /run/mysqld/*.pid # of a killed server

if [ -n "$copied" ]; then
    # The server's identity, and whom it followed (MariaDB; MySQL has that in tables).
    rm -f "$data/auto.cnf" "$data/multi-master.info" "$data"/{master,relay-log}*.info "$data"/*relay-bin*
fi
if [ -n "$copied" ] || [ ! -e "$volume/credentials-id" ] || [ "$(<"$volume/credentials-id")" != "$id" ]; then
    rekey
    mark credentials-id "$id"
    [ -z "${RESTORED_FROM:-}" ] || mark restored-from "$RESTORED_FROM"
fi
