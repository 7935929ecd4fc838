#!/usr/bin/env bash
# SQLite with a rollback journal and with a write-ahead log: several writers at
# once, and a writer that is killed amid its transaction.
. "$(dirname "$0")/checks.sh"

sql() { sqlite3 -batch -bail -cmd '.timeout 20000' "$@"; }

# Each of four writers adds 25 rows, each row in a transaction of its own.
write() {
  local number
  for number in {1..25}; do
    echo "BEGIN IMMEDIATE; INSERT INTO t(writer, v) VALUES ($2, randomblob(3000)); COMMIT;"
  done | sql "$1"
}

for journal in delete wal; do
  db=$place/$journal.db
  say "Journal mode $journal"
  equal 'the mode is taken' "$journal" "$(sql "$db" "PRAGMA journal_mode=$journal")"
  check 'a table' sql "$db" 'CREATE TABLE t(id INTEGER PRIMARY KEY, writer INT, v BLOB);
    CREATE INDEX i ON t(v)'
  writers=()
  for writer in 1 2 3 4; do
    write "$db" "$writer" & writers+=($!)
  done
  for pid in "${writers[@]}"; do wait "$pid" || fail 'four writers at once' "exit $?"; done
  equal 'four writers at once' '4|100' \
    "$(sql "$db" 'SELECT count(DISTINCT writer), count(*) FROM t')"

  # A cache of ten pages makes the transaction reach the file before its end.
  : >"$scratch/$journal.out"
  mkfifo "$scratch/$journal"
  sql "$db" <"$scratch/$journal" >"$scratch/$journal.out" & killed=$!
  exec 3>"$scratch/$journal"
  echo 'PRAGMA cache_size=10; BEGIN; UPDATE t SET v=randomblob(3000), writer=9;
    SELECT count(*) FROM t WHERE writer=9;' >&3
  for _ in {1..100}; do
    [ "$(cat "$scratch/$journal.out")" = 100 ] && break
    sleep 0.1
  done
  equal 'a writer changed all rows and did not commit' 100 "$(cat "$scratch/$journal.out")"
  kill -9 "$killed"
  wait "$killed" 2>/dev/null || true
  exec 3>&-
  equal 'it is killed, and its changes are gone' 0 \
    "$(sql "$db" 'SELECT count(*) FROM t WHERE writer=9')"
  equal 'the database is whole' ok "$(sql "$db" 'PRAGMA integrity_check')"
done
