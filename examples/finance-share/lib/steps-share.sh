# Steps 1 to 5: a key, a folder under it, and who can do what with them.

create_a_key() {
  heading "1. The CFO creates a key and may delete it; nobody else may use it."
  allowed 'root, who made the store, says who exists' \
    as root keyfold iam apply "$work/policies/iam.yaml"
  refused 'a stranger creates no keys' AccessDeniedException \
    as nobody keyfold kms create-key
  allowed "the CFO creates a key named alias/cfo" \
    as "$cfo" keyfold kms create-key --alias alias/cfo \
    --description 'Reports of the CFO' \
    --tags TagKey=department,TagValue=finance TagKey=owner,TagValue=cfo \
    --administrators "user:$cfo" --users "user:$cfo" \
    --query KeyMetadata.KeyId --output text
  key_id[alias/cfo]=$out
  say "key id: $out"
  allowed 'its metadata is there' as "$cfo" keyfold kms describe-key --key-id alias/cfo \
    --query KeyMetadata --output json
  equal 'the description' 'Reports of the CFO' "$(field Description)"
  equal 'the state' Enabled "$(field KeyState)"
  equal 'managed by the customer' CUSTOMER "$(field KeyManager)"
  allowed 'its tags are there' as "$cfo" keyfold kms list-resource-tags \
    --key-id alias/cfo --query Tags --output json
  equal 'department and owner' 'department=finance owner=cfo' \
    "$(json '" ".join(sorted(t["TagKey"] + "=" + t["TagValue"] for t in data))')"
  allowed 'its policy is there' as "$cfo" keyfold kms get-key-policy \
    --key-id alias/cfo --policy-name default --query Policy --output text
  equal 'the CFO may schedule its deletion' yes "$(
    [[ $out == *ScheduleKeyDeletion* || $out == *kms:* ]] && echo yes)"
}

fill_the_folder() {
  local file
  heading "2. The CFO makes reports/ under that key and copies three files in."
  allowed 'mkdir' as "$cfo" mkdir "$share/reports"
  allowed 'reports/ is bound to alias/cfo' \
    as "$cfo" keyfold folder set-key "$share/reports" alias/cfo
  allowed 'and says so' as "$cfo" keyfold folder show "$share/reports"
  equal 'by the name of the key' yes "$([[ $out == *alias/cfo* ]] && echo yes)"
  key_of[/reports]=${key_id[alias/cfo]}
  for file in payslip.pdf ether-wallet.txt ether-wallet.json; do
    allowed "cp $file" as "$cfo" cp "$work/files/$file" "$share/reports/$file"
    allowed "it reads back byte for byte" as "$cfo" cmp "$work/files/$file" "$share/reports/$file"
    equal 'its mode' 644 "$(stat -c %a "$share/reports/$file")"
  done
  equal 'the backing store shows no name' '' "$(find "$store" -name '*payslip*' -o -name '*ether*')"
  equal 'and no contents' '' "$(grep -rlaE 'Ether wallet|aes-128-ctr' "$store")"
}

keep_strangers_out() {
  heading "3. The mode bits say everyone may read; the key says no."
  refused "the user nobody can't read payslip.pdf" EACCES as nobody cat "$share/reports/payslip.pdf"
  refused 'nor can root' EACCES as root cat "$share/reports/payslip.pdf"
  refused 'nor copy the wallet' EACCES \
    as root cp "$share/reports/ether-wallet.txt" "$work/desk/root"
  allowed 'the auditor sees who tried' as root keyfold audit --user nobody --output json
  equal 'in an audit record' yes "$(
    [[ $out == *payslip.pdf* && $out == *AccessDeniedException* ]] && echo yes)"
}

publish_the_payslip() {
  heading "4. The CFO puts the pay slip under the key that the service manages."
  allowed 'file set-key' \
    as "$cfo" keyfold file set-key "$share/reports/payslip.pdf" alias/aws/fs
  allowed 'file show' as "$cfo" keyfold file show "$share/reports/payslip.pdf"
  equal 'names that key' yes "$([[ $out == *alias/aws/fs* ]] && echo yes)"
  allowed 'the service key is known' as "$cfo" keyfold kms describe-key \
    --key-id alias/aws/fs --query KeyMetadata.KeyId --output text
  key_id[alias/aws/fs]=$out
  key_of[/reports/payslip.pdf]=$out
  allowed 'now the user nobody reads it' as nobody cat "$share/reports/payslip.pdf"
  allowed 'byte for byte' as nobody cmp "$work/files/payslip.pdf" "$share/reports/payslip.pdf"
  refused 'but not the wallet beside it' EACCES as nobody cat "$share/reports/ether-wallet.txt"
  refused 'the service key belongs to the service' AccessDeniedException \
    as "$cfo" keyfold kms disable-key --key-id alias/aws/fs
}

let_accounts_look() {
  local file path verb
  heading "5. Accounts may look at folder and key, and use neither."
  allowed 'lists the folder' as "$accounts" ls -l "$share/reports"
  equal 'with all three names' 3 "$(grep -c -e payslip.pdf -e ether-wallet <<<"$out")"
  allowed 'lists keys' as "$accounts" keyfold kms list-keys
  allowed 'lists aliases' as "$accounts" keyfold kms list-aliases
  allowed 'describes the key' as "$accounts" keyfold kms describe-key --key-id alias/cfo
  refused "can't disable it" AccessDeniedException \
    as "$accounts" keyfold kms disable-key --key-id alias/cfo
  refused "can't change its description" AccessDeniedException \
    as "$accounts" keyfold kms update-key-description --key-id alias/cfo --description mine
  refused "can't change its policy" AccessDeniedException as "$accounts" \
    keyfold kms put-key-policy --key-id alias/cfo --policy "file://$work/policies/key-policy.yaml"
  refused "can't grant itself its use" AccessDeniedException \
    as "$accounts" keyfold kms create-grant --key-id alias/cfo \
    --grantee-principal "user:$accounts" --operations Decrypt
  refused "can't schedule its deletion" AccessDeniedException \
    as "$accounts" keyfold kms schedule-key-deletion --key-id alias/cfo
  allowed 'reads the public pay slip' as "$accounts" cat "$share/reports/payslip.pdf"

  say 'Even when every mode bit allows it (0666 in a folder of 0777):'
  allowed 'the CFO opens all mode bits' \
    as "$cfo" chmod 0666 "$share/reports/ether-wallet.txt" "$share/reports/ether-wallet.json"
  allowed 'of the folder too' as "$cfo" chmod 0777 "$share/reports"
  allowed 'root makes drop/ for everyone, under the service key' \
    as root install -d -m 1777 "$share/drop"
  for file in ether-wallet.txt ether-wallet.json; do
    path=$share/reports/$file
    refused "accounts can't read $file" EACCES as "$accounts" cat "$path"
    refused "can't copy it" EACCES as "$accounts" cp "$path" "$work/desk/$file"
    refused "can't append to it" EACCES as "$accounts" tee -a "$path"
    refused "can't truncate it" EACCES as "$accounts" truncate -s 0 "$path"
    refused "can't truncate it by path" EACCES as "$accounts" \
      python3 -c 'import os, sys; os.truncate(sys.argv[1], 0)' "$path"
    refused "can't map it" EACCES as "$accounts" hold "$path" EACCES
    refused "can't hard-link it under another key" EXDEV \
      as "$accounts" ln "$path" "$share/drop/$file"
  done
  refused "can't make a file of its own under that key" EACCES \
    as "$accounts" tee "$share/reports/accounts.txt"
  as "$accounts" ln "$share/reports/ether-wallet.txt" "$share/reports/other" 2>/dev/null &&
    refused 'reads no more through another name in the folder' EACCES \
      as "$accounts" cat "$share/reports/other" && rm -f "$share/reports/other"
  refused "can't move it where the key is another" EACCES \
    as "$accounts" mv "$share/reports/ether-wallet.txt" "$share/drop/"
  allowed 'the CFO takes the mode bits back' \
    as "$cfo" chmod 0644 "$share/reports/ether-wallet.txt" "$share/reports/ether-wallet.json"
  allowed 'of the folder too' as "$cfo" chmod 0755 "$share/reports"
  unharmed
}

# unharmed: all three files read back as they were, for the CFO.
unharmed() {
  local file
  for file in payslip.pdf ether-wallet.txt ether-wallet.json; do
    allowed "the CFO's $file is as it was" \
      as "$cfo" cmp "$work/files/$file" "$share/reports/$file"
  done
}

# json EXPRESSION evaluates a Python expression over $out, parsed into data.
json() { /usr/bin/python3 -c 'import json, sys; data = json.load(sys.stdin)
print('"$1"')' <<<"$out" 2>&1 | tail -1; }
field() { json "data[\"$1\"]"; }
