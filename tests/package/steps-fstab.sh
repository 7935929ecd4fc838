# A share that mount(8) mounts: by hand, at boot, on demand. Sourced by test_deb.

is_readable() { as cfo cmp -s $examples/finance-share/files/payslip.pdf $share/reports/payslip.pdf; }

# in_fstab makes such a line of the README the last of fstab.
in_fstab() {  # FIRST_LINE
  sed -i '/ keyfold /d' "$root/etc/fstab"
  documented "$1" >>"$root/etc/fstab"
  booted systemctl daemon-reload
}

mount_by_hand() {
  step 'mount -t keyfold'
  booted systemctl disable --quiet --now "$unit"
  follow 'By hand'
  check 'it is unmounted' not is_mounted
  soon 'and its daemon ends' booted flock --nonblock "$store/lock" true
}

mount_at_boot() {
  step 'fstab'
  in_fstab '/etc/fstab: at boot'
  booted systemctl start srv-finance.mount
  check 'the CFO reads' is_readable
  refused 'accounts do not' as accounts cat $share/reports/payslip.pdf
  write_much $share/reports/large-too
  power_off
  boot_root
  check 'the machine boots again' [ "$boot_state" = running ]
  check 'the share is there' is_readable
  check 'what was written just before power off is whole' is_whole $share/reports/large-too
  power_off

  rm "$root/etc/keyfold/finance.passphrase"
  boot_root
  check 'without the passphrase, the machine boots' is_active multi-user.target
  check 'but for the share' booted systemctl is-failed --quiet srv-finance.mount
  check 'which is not there' not is_mounted
  cp -p "$root/root/copy" "$root/etc/keyfold/finance.passphrase"
  booted systemctl start srv-finance.mount
  check 'it can be mounted later' is_readable
  booted keyfold unmount $share
  soon 'systemd sees it go' not is_active srv-finance.mount
}

mount_on_demand() {
  local reader
  step 'automount'
  in_fstab '/etc/fstab: on demand'
  sed -i 's/idle-timeout=10min/idle-timeout=2s/' "$root/etc/fstab"
  follow 'Have systemd read fstab'
  check 'nothing is mounted yet' not is_mounted
  check 'the first look mounts' is_readable
  as cfo sh -c "exec 3<$share/reports/payslip.pdf; sleep 5; cat <&3 >/dev/null && : >/tmp/read" &
  reader=$!
  sleep 4
  check 'it stays while a file is open' is_mounted
  wait "$reader"
  check 'which can be read' [ -e "$root/tmp/read" ]
  soon 'when idle it goes' not is_mounted
  check 'and comes again' is_readable
  refused 'not for accounts' as accounts cat $share/reports/payslip.pdf
  booted systemctl stop srv-finance.automount
  soon 'its end is the end of the mount' booted flock --nonblock "$store/lock" true
  sed -i '/ keyfold /d' "$root/etc/fstab"
  booted systemctl daemon-reload
}

mount_by_units() {
  local units=$root/etc/systemd/system secret
  step 'mount units'
  follow 'Units in place of fstab, at boot'
  check 'the CFO reads' is_readable
  refused 'accounts do not' as accounts cat $share/reports/payslip.pdf
  # As the README says of credentials.
  secret=/run/credentials/srv-finance.mount/finance
  mkdir "$units/srv-finance.mount.d"
  printf '[Mount]\nLoadCredential=finance:/etc/keyfold/finance.passphrase\n' \
    >"$units/srv-finance.mount.d/credential.conf"
  booted systemctl daemon-reload
  booted systemctl restart srv-finance.mount
  check 'systemd gives a mount unit no credentials' not booted test -e "$secret"
  rm -r "$units/srv-finance.mount.d"

  follow 'The same on demand'
  check 'nothing is mounted yet' not is_mounted
  check 'the first look mounts' is_readable
  booted sed -i s/10min/2s/ /etc/systemd/system/srv-finance.automount
  booted systemctl daemon-reload
  booted systemctl restart srv-finance.automount
  check 'it is readable' is_readable
  soon 'when idle it goes' not is_mounted
  check 'and comes again' is_readable
  booted systemctl disable --quiet --now srv-finance.automount
  soon 'its end is the end of the mount' booted flock --nonblock "$store/lock" true
  rm "$units"/srv-finance.{mount,automount}
  booted systemctl daemon-reload
}
