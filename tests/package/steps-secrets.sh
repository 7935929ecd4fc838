# What opens a store that is not to lie on the disk in plain. Sourced by test_deb.

keep_the_secret_encrypted() {
  local credential=/etc/credstore.encrypted/keyfold.finance
  local decrypted=/run/credentials/$unit.service/keyfold.finance
  step 'credentials'
  booted systemctl enable --quiet --now "$unit"
  follow 'Move the passphrase into a credential'
  check 'no file has the passphrase' not grep -rqF "$(cat "$root/root/copy")" "$root/etc"
  check 'the share is mounted where others see it' is_readable
  refused 'nobody else reads the credential' as nobody cat "$decrypted"
  check 'it decrypts under its own name' booted sh -c 'systemd-creds decrypt "$1" - >/dev/null' - \
    "$credential"
  check 'and under no other' not booted systemd-creds decrypt --name keyfold.board \
    "$credential" - 2>/dev/null
  booted sh -c "kill -KILL $(main_pid)"
  soon 'a killed daemon is started again with it' is_readable
  booted systemctl stop "$unit"
  check 'when stopped, it is gone' not booted test -e "$decrypted"
  power_off
  boot_root
  check 'at the next boot it is there' is_readable
}

# The TPM is swtpm's: what finds it is the environment, as the machine has no other.
seal_by_the_tpm() {
  local tcti=KEYFOLD_TPM2_TCTI=swtpm:path=/run/tpm/socket
  step 'TPM'
  booted mkdir /run/tpm /var/lib/tpm-state
  booted systemd-run --quiet --unit swtpm swtpm socket --tpm2 --tpmstate dir=/var/lib/tpm-state \
    --server type=unixio,path=/run/tpm/socket --ctrl type=unixio,path=/run/tpm/socket.ctrl \
    --flags not-need-init,startup-clear
  soon 'there is one' booted test -S /run/tpm/socket
  mkdir -p "$root/etc/systemd/system/keyfold@board.service.d"
  printf '[Service]\nEnvironment=%s\n' "$tcti" \
    >"$root/etc/systemd/system/keyfold@board.service.d/swtpm.conf"
  follow "A store that this machine's TPM opens" $tcti
  check 'the share is mounted' is_mounted /srv/board
  booted systemctl stop keyfold@board
  booted systemctl stop swtpm
  check 'without the TPM it is not' not booted systemctl start keyfold@board 2>/dev/null
  booted systemctl disable --quiet --now keyfold@board
  booted systemctl reset-failed
}
