#!/usr/bin/env bash
# PostgreSQL: initdb, a server on a Unix socket, pgbench, a crash and recovery.
# It refuses to run as root, so as root the script makes a user for it.
. "$(dirname "$0")/checks.sh"
bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)
data=$place/data
readonly mark='Keyfold programs example'
as=()

# Users of runs that were killed go, too: the name tells the process that made it.
remove_users() {
  local user
  getent passwd | awk -F: -v mark="$mark" '$5 == mark { print $1 }' | while read -r user; do
    [ "$user" != "kfpg$$" ] && [ -d "/proc/${user#kfpg}" ] || userdel "$user" 2>/dev/null
  done
}

clean_up() {
  [ ! -e "$data/postmaster.pid" ] || pg pg_ctl -D "$data" -m immediate stop >/dev/null || true
  [ ${#as[@]} -eq 0 ] || remove_users
}

pg() {
  local program=$1
  shift
  (cd "$scratch" && "${as[@]}" "$bin/$program" "$@")
}
start() {
  pg pg_ctl -D "$data" -l "$scratch/log" -w -t 30 start \
    -o "-c listen_addresses='' -k $scratch"
}
client() {
  local program=$1
  shift
  pg "$program" -h "$scratch" -U kf "$@"
}
query() { client psql -X -A -t -d postgres -c "$1"; }

if [ "$(id -u)" -eq 0 ]; then
  remove_users
  useradd -M -U -d / -s /usr/sbin/nologin -c "$mark" "kfpg$$"
  as=(setpriv "--reuid=kfpg$$" "--regid=kfpg$$" --clear-groups --)
  chown "kfpg$$:" "$place" "$scratch"
fi
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say 'A cluster with checksums, and a server that answers on a Unix socket only'
check 'initdb' pg initdb -D "$data" -U kf -A trust --data-checksums --no-locale -E UTF8
check 'start' start
check 'pgbench makes its tables' client pgbench -q -i -s 1 postgres

say 'Four clients change balances'
check 'pgbench' client pgbench -n -c 4 -j 2 -t 100 --random-seed=7 postgres
consistent() {
  equal "$1" t "$(query 'SELECT a = b AND b = t AND t = h AND n = 400 FROM
    (SELECT sum(abalance) a FROM pgbench_accounts) a,
    (SELECT sum(bbalance) b FROM pgbench_branches) b,
    (SELECT sum(tbalance) t FROM pgbench_tellers) t,
    (SELECT sum(delta) h, count(*) n FROM pgbench_history) h')"
}
consistent 'all sums agree, and no transaction is missing'

say 'The server is stopped as by a crash and recovers from its log'
check 'immediate stop' pg pg_ctl -D "$data" -m immediate stop
check 'start' start
check 'the log tells of a recovery' grep -q 'redo done' "$scratch/log"
consistent 'all sums still agree'
check 'vacuum' client vacuumdb -q --full -t pgbench_accounts postgres
consistent 'and after a table was rewritten'
check 'stop' pg pg_ctl -D "$data" -m fast stop
check 'every page has the right checksum' pg pg_checksums -D "$data" --check
