# shellcheck shell=bash
# Runs in a pod like the server's, with an instance's own scripts and settings mounted. Standard input: triples of a user, a
# database and a password as hexadecimal digits. The first is what prepare.sh builds a volume with, the second what it keys that
# volume to. The others get in through the same functions of it, without a start of the server for each. Then the server starts,
# and each logs in; what each says of itself is a line of the output.
set -Eeuo pipefail

secret=/run/secrets/minidbaas
mapfile -t triples
unhex() { printf "$(sed 's/../\\x&/g' <<<"$1")"; }
count=0
put() { # USER DATABASE PASSWORD
    unhex "$1" >$secret/username
    unhex "$2" >$secret/database
    unhex "$3" >$secret/password
    printf %s "an administrator's \`password\` \\ \$\$" >$secret/admin-password
    count=$((count + 1))
    printf %s "set-$count" >$secret/id
}
put ${triples[0]}
bash /etc/minidbaas/prepare.sh
put ${triples[1]}
bash /etc/minidbaas/prepare.sh

# All that it defines, without what it does.
# shellcheck disable=SC1090 # it is made here
source <(sed '/^rm -rf "\$new"$/,$d' /etc/minidbaas/prepare.sh)

as_postgresql() { # USER DATABASE PASSWORD [ARGUMENT...]
    PGUSER=$1 PGDATABASE=$2 PGPASSWORD=$3 psql -h 127.0.0.1 -XqAt -F ' ' -v ON_ERROR_STOP=1 -c "$SQL" 2>&1
}
as_mysql_family() {
    local tls=--get-server-public-key
    [ "$engine" = MySQL ] || tls=--disable-ssl-verify-server-cert
    "$client" --no-defaults --protocol=tcp --host=127.0.0.1 --default-character-set=utf8mb4 --batch --skip-column-names $tls \
        --user="$1" --database="$2" --password="$3" --execute="$SQL" 2>&1 | grep -v 'password on the command line' | tr '\t' ' '
}
if [ -n "${settings:-}" ]; then
    start_server "$data" -c config_file="$settings"
    for triple in "${triples[@]:2}"; do
        put $triple
        accounts
    done
    stop_server
    login=as_postgresql
    postgres -D "$data" -c config_file="$settings" >"$work/server.log" 2>&1 &
    port=5432
else
    eval "shipped_$(declare -f accounts)"
    accounts() {
        local triple
        for triple in "${triples[@]:2}"; do
            put $triple
            session
            shipped_accounts
        done
    }
    rekey
    login=as_mysql_family
    "$program" --defaults-file=/etc/minidbaas/my.cnf >"$work/server.log" 2>&1 &
    port=3306
fi
server=$! process=$!
until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do
    kill -0 "$server" || { cat "$work/server.log" >&2; exit 1; }
    sleep 0.1
done
if [ $port = 5432 ]; then until pg_isready -q -h 127.0.0.1; do sleep 0.1; done; fi
for triple in "${triples[@]}"; do
    read -r user database password <<<"$triple"
    $login "$(unhex "$user")" "$(unhex "$database")" "$(unhex "$password")" | tr '\n' ' ' || :
    echo
done
# And nobody gets in with another's password.
read -r user database _ <<<"${triples[0]}"
read -r _ _ password <<<"${triples[1]}"
$login "$(unhex "$user")" "$(unhex "$database")" "$(unhex "$password")" | tr '\n' ' ' || :
echo
