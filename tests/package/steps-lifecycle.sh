# Upgrade, removal, purge, and coming back. Sourced by test_deb.

upgrade_it() {
  local before reader
  step 'upgrade'
  before=$(main_pid)
  as cfo sh -c "exec 3<$share/reports/payslip.pdf; : >/tmp/opened
    until [ -e /tmp/upgraded ]; do sleep 0.1; done
    cmp -s - $examples/finance-share/files/payslip.pdf <&3" &
  reader=$!
  soon 'a file is open' [ -e "$root/tmp/opened" ]
  package "$version.1" root
  follow 'Upgrade'
  check 'it says which share goes on with the former program' has_line 'former program.*keyfold@finance' \
    "$(said)"
  check 'there is a newer program' [ "$(booted dpkg-query -W -f '${Version}' keyfold)" = "$version.1" ]
  check 'the daemon is the same' [ "$(main_pid)" = "$before" ]
  : >"$root/tmp/upgraded"
  check 'an open file can be read' wait "$reader"
  check 'so can others' is_whole $share/reports/large
  check 'what the administrator wrote stayed' grep -q noatime "$root/etc/default/keyfold"
  follow 'Use the new program, when it suits the users'
  check 'the daemon is another' is_another "$before"
  check 'of the new program' [ "$(booted readlink "/proc/$(main_pid)/exe")" = /usr/bin/keyfold ]
  check 'the files are there' is_readable
}

remove_it() {
  step 'removal'
  follow 'Remove'
  check 'the share is unmounted' not is_mounted
  check 'the program is gone' [ ! -e "$root/usr/bin/keyfold" ]
  check 'the mount helper is gone' [ ! -L "$root/usr/sbin/mount.keyfold" ]
  what_must_stay
  follow 'Install it'
  booted systemctl start "$unit"
  check 'installed again, the files are there' is_readable
  check 'and at boot they will be' booted systemctl is-enabled --quiet "$unit"
}

purge_it() {
  step 'purge'
  follow 'Purge'
  check 'it says what is left' has_line "^ *$store$" "$(said)"
  check 'configurations too' has_line '^ */etc/keyfold/finance.conf$' "$(said)"
  check 'the configuration of all shares is gone' [ ! -e "$root/etc/default/keyfold" ]
  check 'nothing is started at boot' [ ! -L \
    "$root/etc/systemd/system/multi-user.target.wants/$unit.service" ]
  what_must_stay
  check 'no unit failed' not has_line keyfold "$(booted systemctl --failed --plain --no-legend)"
  follow 'Install it'
  booted systemctl enable --quiet --now "$unit"
  check 'installed again, the files are there' is_readable
  check 'and each as it was' is_whole $share/reports/large
  refused 'and accounts read none' as accounts cat $share/reports/payslip.pdf
}

what_must_stay() {
  check 'the store is there' [ -e "$root$store/keyfold.json" ]
  check 'the configuration is' [ -s "$root/etc/keyfold/finance.conf" ]
  check 'the credential is' [ -s "$root/etc/credstore.encrypted/keyfold.finance" ]
}
