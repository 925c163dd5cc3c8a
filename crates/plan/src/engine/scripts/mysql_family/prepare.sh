#!/bin/bash
# Makes the volume ready for the server, MySQL or MariaDB. Runs before every start of it, and may be killed at any moment:
#
# - no database yet: one is built aside and moved into place when it is complete and on the disk, so what has the
#   name `data` is never half-made;
# - a database with other credentials than the mounted Secret (a restored snapshot, or a Secret that was lost and made
#   anew): it gets the Secret's passwords, and the user and the database if they are missing; nothing else is touched;
# - a database with these credentials: nothing to do, no server is started.
set -e # before the rest: a file that is missing must end this
# shellcheck source=common.sh
. /etc/minidbaas/common.sh

volume=/var/lib/minidbaas
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
    [ "$engine" = MariaDB ] || arguments+=(--mysqlx=OFF)
    : >"$log"
    "$program" "${arguments[@]}" --init-file=<(
        session
        echo "SET SESSION TRANSACTION READ WRITE;"
        accounts
        echo "SHUTDOWN;"
    ) </dev/null >"$log" 2>&1 &
    process=$!
    while kill -0 "$process" 2>/dev/null; do
        ! refused || fail_with_log
        sleep 0.1
    done
    wait "$process" || { process= && fail_with_log; }
    process=
    ! refused || fail_with_log
}

# mark NAME VALUE: a file that is complete and on the disk, as is all that was written before.
mark() {
    sync -f "$volume"
    echo "$2" >"$volume/$1.new"
    sync -f "$volume"
    mv "$volume/$1.new" "$volume/$1"
    sync -f "$volume"
}

rm -rf "$new"
if [ ! -e "$data" ]; then
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

if [ ! -e "$volume/credentials-id" ] || [ "$(<"$volume/credentials-id")" != "$id" ]; then
    rekey
    mark credentials-id "$id"
fi
