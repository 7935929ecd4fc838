# Installing, and a share that systemd keeps mounted. Sourced by test_deb.

readonly unit=keyfold@finance store=/srv/keyfold/finance share=/srv/finance
readonly processes=/sys/fs/cgroup/system.slice/system-keyfold.slice/$unit.service/cgroup.procs
readonly examples=/usr/share/doc/keyfold/examples

main_pid() { booted systemctl show --property MainPID --value "$unit"; }
# The unit's processes that have no mounts of their own.
outside() {
  booted sh -c "for process in \$(cat $processes); do
    [ \$(readlink /proc/\$process/ns/mnt) != \$(readlink /proc/1/ns/mnt) ] || echo \$process
  done"
}
is_another() { [ "$(main_pid)" != "$1" ]; }
is_active() { booted systemctl is-active --quiet "${1:-$unit}"; }
# Without touching it, which would count as use.
is_mounted() { booted grep -q " ${1:-$share} .* - fuse.keyfold " /proc/self/mountinfo; }
not() { ! "$@"; }
has_line() { grep -qE -- "$1" <<<"$2"; }

# 9 MB that nobody syncs; whether they are all there.
write_much() { as cfo sh -c 'head -c 9000000 /dev/zero | tr "\\0" k >"$1"' - "$1"; }
is_whole() {
  [ "$(as cfo sh -c 'stat -c %s "$1"; tr -d k <"$1" | wc -c' - "$1")" = $'9000000\n0' ]
}

install_it() {
  step 'install'
  booted apt-get update -qq
  follow 'Install it'
  check 'the program runs' booted sh -c 'keyfold --help >/dev/null'
  check 'no unit failed' [ "$(booted systemctl is-system-running)" = running ]
  check '/etc/keyfold is for root alone' [ "$(stat -c %a%u "$root/etc/keyfold")" = 7000 ]
  check 'so are credentials' [ "$(stat -c %a%u "$root/etc/credstore.encrypted")" = 7000 ]
  check 'everybody finds the sockets' [ "$(booted stat -c %a%u /run/keyfold)" = 7550 ]
  check 'the user _keyfold is a system user who cannot log in' has_line \
    '^_keyfold:[^:]*:[0-9]{1,3}:[0-9]{1,3}:.*:/usr/sbin/nologin$' \
    "$(booted getent passwd _keyfold)"
}

serve_a_share() {
  local before
  step 'a share as a service'
  follow 'A store whose passphrase is in a file'
  cp -p "$root/etc/keyfold/finance.passphrase" "$root/root/copy"
  follow 'A share as a service'
  check 'it is mounted where others see it' is_mounted
  check "the daemon's own filter of system calls is there" \
    not has_line 'any system call' "$(booted journalctl --unit "$unit" --output cat)"
  check 'one process of it is outside, to mount there' [ "$(outside | wc -l)" = 1 ]
  check 'and not the main one' not has_line "^$(main_pid)\$" "$(outside)"
  check 'the others see the machine read only' has_line '^[^ ]+ [^ ]+ [^ ]+ [^ ]+ / ro[, ]' \
    "$(booted cat "/proc/$(main_pid)/mountinfo")"
  fill_the_share
  refusals_are_told

  follow 'Read a renewed TLS certificate; mount anew'
  check 'the files are there' as cfo cmp -s "$examples/finance-share/files/payslip.pdf" \
    $share/reports/payslip.pdf

  before=$(main_pid)
  booted sh -c "kill -KILL $before"
  soon 'a killed daemon is started again, and its dead mount cleared' \
    as cfo test -s $share/reports/payslip.pdf
  check 'by systemd' is_another "$before"
  before=$(main_pid)
  booted sh -c "for process in \$(cat $processes); do
    [ \$(cat /proc/\$process/comm) != keyfold-kms ] || kill -KILL \$process 2>/dev/null || true
  done"
  soon 'so is one whose process with the keys was killed' is_another "$before"
  soon 'and serves' as cfo test -s $share/reports/payslip.pdf

  write_much $share/reports/large
  booted systemctl stop "$unit"
  check 'stopping unmounts' not is_mounted
  check 'and leaves no process' not booted grep -q . "$processes" 2>/dev/null
  check 'and is no failure' not booted systemctl is-failed --quiet "$unit"
  echo 'DEFAULT_OPTIONS=-o noatime' >>"$root/etc/default/keyfold"
  booted systemctl start "$unit"
  check 'what was written just before is whole' is_whole $share/reports/large
  check 'options of all shares count' has_line noatime \
    "$(booted findmnt --noheadings --output OPTIONS $share)"
  stop_while_in_use
  run_an_alert
  serve_from_a_home
  answer_the_network
  not_tried_again
  booted systemd-analyze security "$unit" | tail -1
}

# fill_the_share is the core of the finance scenario; the rest is act_the_scenario.
fill_the_share() {
  booted useradd --create-home cfo
  booted useradd --create-home accounts
  booted chmod 1777 $share
  check 'root says who exists' booted sh -c "keyfold iam apply $examples/finance-share/policies/iam.yaml >/dev/null"
  check 'the CFO creates a key' as cfo sh -c 'keyfold kms create-key --alias alias/cfo \
    --administrators user:cfo --users user:cfo >/dev/null'
  check 'and binds a folder to it' as cfo sh -c "mkdir $share/reports &&
    keyfold folder set-key $share/reports alias/cfo >/dev/null"
  check 'and puts a file in' as cfo cp $examples/finance-share/files/payslip.pdf $share/reports/
  refused 'accounts may not read it' as accounts cat $share/reports/payslip.pdf
  refused 'root may not' booted cat $share/reports/payslip.pdf
}

# refusals_are_told: is a refusal in the journal, with the id of a request of the audit log?
refusals_are_told() {
  local ids
  ids=$(booted journalctl --unit "$unit" --output json --output-fields KEYFOLD_REQUEST_ID \
    KEYFOLD_PRINCIPAL=arn:aws:iam::000000000000:user/accounts |
    sed -n 's/.*"KEYFOLD_REQUEST_ID" *: *"\([^"]*\)".*/\1/p')
  check 'the journal tells of the refusal' [ -n "$ids" ]
  check 'with an id that the audit log has' booted sh -c \
    'keyfold audit --user accounts --output json | grep -qF "$1"' - "$(tail -1 <<<"$ids")"
  follow 'What was refused and what is damaged, since yesterday'
  check 'which shows it' has_line 'AccessDeniedException' "$(said)"
}
stop_while_in_use() {
  as cfo sh -c "exec 3<$share/reports/payslip.pdf
    until [ -e /tmp/stopped ]; do sleep 0.1; done" &
  soon 'a file is open' booted sh -c "keyfold top --once | grep -q payslip"
  booted systemctl stop "$unit"
  check 'stopping says who keeps it from being unmounted' has_line \
    'still mounted, and in use by .* of cfo: reads .*payslip.pdf' \
    "$(booted journalctl --unit "$unit" --output cat)"
  check 'and unmounts all the same' not is_mounted
  : >"$root/tmp/stopped"
  booted systemctl start "$unit"
}

run_an_alert() {
  cat >"$root/root/rules.yaml" <<'RULES'
rules:
  - name: NewKey
    when: {event: CreateKey, error: none}
    actions: [{command: [/bin/sh, -c, 'id -un >/srv/alerts/user'], user: _keyfold, timeout: 10s}]
RULES
  booted install -d -o _keyfold /srv/alerts
  booted keyfold audit rules apply /root/rules.yaml >/dev/null
  as cfo keyfold kms create-key >/dev/null
  soon 'an alert runs a command as _keyfold, within the sandbox' \
    [ -s "$root/srv/alerts/user" ]
  check 'and as nobody else' [ "$(cat "$root/srv/alerts/user")" = _keyfold ]
}

# serve_from_a_home has both the store and the mountpoint in homes.
serve_from_a_home() {
  local folder=$root/etc/systemd/system/keyfold@notes.service.d
  booted install -d -m 0700 /home/keyfold
  booted keyfold init /home/keyfold/notes --root-key file:/home/keyfold/root.key
  as cfo mkdir /home/cfo/notes
  printf 'STORE=/home/keyfold/notes\nMOUNTPOINT=/home/cfo/notes\nOPTIONS=\n' \
    >"$root/etc/keyfold/notes.conf"
  check 'a store in a home is out of reach' not booted systemctl start keyfold@notes 2>/dev/null
  mkdir -p "$folder"
  documented 'systemctl edit keyfold@notes' >"$folder/override.conf"
  booted systemctl daemon-reload
  booted systemctl reset-failed keyfold@notes
  booted systemctl start keyfold@notes
  check 'until it is named' is_mounted /home/cfo/notes
  check 'a mountpoint is not' as cfo ls /home/cfo/notes
  check 'two shares do not keep each other' booted systemctl restart "$unit"
  booted systemctl stop keyfold@notes
  check 'it is unmounted' not is_mounted /home/cfo/notes
  rm -r "$folder" "$root/etc/keyfold/notes.conf"
  booted systemctl daemon-reload
}

readonly read_metrics='import urllib.request
page = urllib.request.urlopen("http://127.0.0.1:39464/metrics").read()
assert b"keyfold_" in page'

answer_the_network() {
  local folder=$root/etc/systemd/system/$unit.service.d
  mkdir -p "$folder"
  documented 'systemctl edit keyfold@finance' >"$folder/override.conf"
  sed -i 's/^OPTIONS=.*/&,metrics-listen=127.0.0.1:39464,metrics-user=_keyfold/' "$root/etc/keyfold/finance.conf"
  booted systemctl daemon-reload
  booted systemctl restart "$unit"
  check 'with a network, _keyfold reads metrics' as _keyfold python3 -c "$read_metrics"
  check 'accounts do not' not as accounts python3 -c "$read_metrics" 2>/dev/null
  rm -r "$folder"
  sed -i 's/,metrics-.*$//' "$root/etc/keyfold/finance.conf"
  booted systemctl daemon-reload
  booted systemctl restart "$unit"
}

not_tried_again() {
  booted systemctl stop "$unit"
  echo wrong >"$root/etc/keyfold/finance.passphrase"
  check 'a wrong passphrase is a failure' not booted systemctl start "$unit" 2>/dev/null
  # A unit that is to be tried again has not failed.
  check 'that is not tried again' booted systemctl is-failed --quiet "$unit"
  cp -p "$root/root/copy" "$root/etc/keyfold/finance.passphrase"
  booted systemctl reset-failed "$unit"
  booted systemctl start "$unit"
}

# act_the_scenario runs the example as it is, with the program that is installed.
act_the_scenario() {
  step 'the finance scenario'
  mkdir -p "$root/root/source/examples" "$root/root/source/build/release"
  cp -r examples/finance-share "$root/root/source/examples/"
  ln -s /usr/bin/keyfold "$root/root/source/build/release/keyfold"
  check 'every step does what it should' booted sh -c \
    '/root/source/examples/finance-share/run --built --quiet >/root/said 2>&1 || { cat /root/said; exit 1; }'
}
