# Steps 6 to 8: the administrator, his downgrade, and the deletion of the key.

meet_the_administrator() {
  local file
  heading "6. An administrator of the account has power over the key, so far."
  for file in ether-wallet.txt ether-wallet.json; do
    allowed "sysadmin opens $file" as "$sysadmin" cat "$share/reports/$file"
    allowed 'and copies it' as "$sysadmin" cp "$share/reports/$file" "$work/desk/sysadmin-$file"
    equal 'byte for byte' '' "$(cmp "$work/files/$file" "$work/desk/sysadmin-$file" 2>&1)"
  done
  allowed 'iam simulate says why' as "$cfo" keyfold iam simulate \
    --user "$sysadmin" --action kms:Decrypt --key alias/cfo
  say "$(grep ^reason <<<"$out")"
  with_sysadmin
  allowed 'sysadmin makes himself administrator and user of the key' \
    as "$sysadmin" keyfold kms put-key-policy --key-id alias/cfo \
    --policy "file://$work/policies/key-policy-sysadmin.yaml"
  allowed 'which stands in its policy now' as "$cfo" keyfold kms get-key-policy \
    --key-id alias/cfo --policy-name default --query Policy --output text
  equal 'under his name' yes "$([[ $out == *$sysadmin* ]] && echo yes)"
  allowed 'the CFO takes it back' as "$cfo" keyfold kms put-key-policy \
    --key-id alias/cfo --policy "file://$work/policies/key-policy.yaml"
}

# with_sysadmin makes the key policy that lets sysadmin in beside the CFO, and
# the IAM document that lets accounts be auditor too.
with_sysadmin() {
  sed "s/{AWS: user:$cfo}/{AWS: [user:$cfo, user:$sysadmin]}/" \
    "$work/policies/key-policy.yaml" >"$work/policies/key-policy-sysadmin.yaml"
  sed "s/trust: \[user:$sysadmin\]/trust: [user:$sysadmin, user:$accounts]/" \
    "$work/policies/iam-downgraded.yaml" >"$work/policies/iam-auditor.yaml"
}

downgrade_him() {
  local file
  heading "7. Downgraded to SystemAdministrator, he runs the machine and reads nothing."
  hold_open 'what he holds open ends with his right' EACCES \
    "$sysadmin" "$share/reports/ether-wallet.txt" \
    allowed 'root applies the downgrade' \
    as root keyfold iam apply "$work/policies/iam-downgraded.yaml"
  for file in ether-wallet.txt ether-wallet.json; do
    refused "sysadmin can't open $file" EACCES as "$sysadmin" cat "$share/reports/$file"
    refused "can't copy it" EACCES \
      as "$sysadmin" cp "$share/reports/$file" "$work/desk/again-$file"
  done
  refused "can't add himself as a user of the key" AccessDeniedException \
    as "$sysadmin" keyfold kms put-key-policy --key-id alias/cfo \
    --policy "file://$work/policies/key-policy-sysadmin.yaml"
  refused "can't grant himself its use" AccessDeniedException \
    as "$sysadmin" keyfold kms create-grant --key-id alias/cfo \
    --grantee-principal "user:$sysadmin" --operations Decrypt
  allowed 'may let accounts be auditor too' \
    as "$sysadmin" keyfold iam apply "$work/policies/iam-auditor.yaml"
  refused "can't give himself AdministratorAccess again" AccessDeniedException \
    as "$sysadmin" keyfold iam apply "$work/policies/iam.yaml"
  refused 'still reads nothing' EACCES \
    as "$sysadmin" cat "$share/reports/ether-wallet.txt"
  unharmed
}

delete_the_key() {
  local days wallet=$share/reports/ether-wallet.txt
  heading "8. Deleting a key takes time, and can be taken back."
  refused 'no call deletes a key at once' usage \
    as "$cfo" keyfold kms delete-key --key-id alias/cfo

  allowed 'the CFO disables the key' as "$cfo" keyfold kms disable-key --key-id alias/cfo
  refused 'he reads nothing now' ENOKEY as "$cfo" cat "$wallet"
  refused 'and creates nothing' ENOKEY as "$cfo" tee "$share/reports/new"
  refused 'nor does the KMS encrypt' DisabledException \
    as "$cfo" keyfold kms encrypt --key-id alias/cfo --plaintext aGVsbG8=
  allowed 'the user nobody still reads the public pay slip' as nobody cat "$share/reports/payslip.pdf"
  allowed 'he enables it' as "$cfo" keyfold kms enable-key --key-id alias/cfo
  unharmed

  for days in 6 31; do
    refused "a waiting time of $days days" ValidationException \
      as "$cfo" keyfold kms schedule-key-deletion --key-id alias/cfo \
      --pending-window-in-days "$days"
  done
  hold_open 'what the CFO holds open ends too' ENOKEY "$cfo" "$wallet" \
    allowed 'scheduled, with no waiting time given' \
    as "$cfo" keyfold kms schedule-key-deletion --key-id alias/cfo
  equal 'it is 30 days' 30 "$(field PendingWindowInDays)"
  equal 'the key waits' PendingDeletion "$(field KeyState)"
  equal 'for 30 days from now' 30 "$((($(date -d "$(timestamp)" +%s) - $(date +%s) + 3600) / 86400))"
  refused 'the CFO reads nothing' ENOKEY as "$cfo" cat "$wallet"
  refused 'nor does root' 'EACCES|ENOKEY' as root cat "$wallet"
  refused 'nor sysadmin' 'EACCES|ENOKEY' as "$sysadmin" cat "$wallet"
  refused 'nor accounts' 'EACCES|ENOKEY' as "$accounts" cat "$wallet"
  refused 'nor the user nobody' 'EACCES|ENOKEY' as nobody cat "$wallet"
  refused 'and it cannot be enabled' KMSInvalidStateException \
    as "$cfo" keyfold kms enable-key --key-id alias/cfo

  allowed 'the CFO cancels the deletion' \
    as "$cfo" keyfold kms cancel-key-deletion --key-id alias/cfo
  allowed 'the key' as "$cfo" keyfold kms describe-key --key-id alias/cfo \
    --query KeyMetadata.KeyState --output text
  equal 'is Disabled now' Disabled "$out"
  refused 'so the files stay shut' ENOKEY as "$cfo" cat "$wallet"
  allowed 'until he enables it' as "$cfo" keyfold kms enable-key --key-id alias/cfo
  unharmed
}

# timestamp: DeletionDate of $out in a form that date(1) reads.
timestamp() {
  local date
  date=$(field DeletionDate)
  [[ $date == *T* ]] && echo "$date" || echo "@$date"
}
