# Steps 9 to 11: imported key material, keys mixed up, and the audit log.

import_a_key() {
  local algorithm alias name
  heading "9. The CFO brings key material of his own."
  head -c 32 /dev/urandom >"$work/material"
  head -c 32 /dev/urandom >"$work/other-material"

  for algorithm in RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256; do
    name=${algorithm##*OAEP_}
    alias=alias/imported-${name//_/-}
    say "With $algorithm:"
    new_external_key "$alias"
    ask_for_parameters "$alias" "$algorithm" "$name"
    wrap "$work/material" "$name" "$name"
    allowed 'import' as "$cfo" keyfold kms import-key-material --key-id "$alias" \
      --import-token "fileb://$work/desk/$name.token" \
      --encrypted-key-material "fileb://$work/desk/$name.wrapped" \
      --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE
    state_is "$alias" Enabled
  done

  say 'A token is for one key and one import:'
  new_external_key alias/second
  refused 'the same token for a second key' InvalidImportTokenException \
    as "$cfo" keyfold kms import-key-material --key-id alias/second \
    --import-token "fileb://$work/desk/SHA_1.token" \
    --encrypted-key-material "fileb://$work/desk/SHA_1.wrapped" \
    --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE
  ask_for_parameters alias/imported-SHA-1 RSAES_OAEP_SHA_1 unused
  refused 'nor one not used yet' InvalidImportTokenException \
    as "$cfo" keyfold kms import-key-material --key-id alias/second \
    --import-token "fileb://$work/desk/unused.token" \
    --encrypted-key-material "fileb://$work/desk/SHA_1.wrapped" \
    --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE
  ask_for_parameters alias/second RSAES_OAEP_SHA_1 new
  refused 'the same wrapped bytes with a new token' InvalidCiphertextException \
    as "$cfo" keyfold kms import-key-material --key-id alias/second \
    --import-token "fileb://$work/desk/new.token" \
    --encrypted-key-material "fileb://$work/desk/SHA_1.wrapped" \
    --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE
  state_is alias/second PendingImport
  refused 'automatic rotation of imported material' UnsupportedOperationException \
    as "$cfo" keyfold kms enable-key-rotation --key-id alias/imported-SHA-1

  say 'Material that is gone can come back:'
  allowed 'a folder under the imported key' as "$cfo" mkdir "$share/wallets"
  allowed 'bound to it' \
    as "$cfo" keyfold folder set-key "$share/wallets" alias/imported-SHA-1
  key_of[/wallets]=${key_id[alias/imported-SHA-1]}
  allowed 'and a file in it' \
    as "$cfo" cp "$work/files/ether-wallet.json" "$share/wallets/ether-wallet.json"
  hold_open 'what is open ends at once' ENOKEY "$cfo" "$share/wallets/ether-wallet.json" \
    allowed 'the CFO deletes the material' \
    as "$cfo" keyfold kms delete-imported-key-material --key-id alias/imported-SHA-1
  state_is alias/imported-SHA-1 PendingImport
  refused 'the file is shut' ENOKEY as "$cfo" cat "$share/wallets/ether-wallet.json"
  import_again 'other material' "$work/other-material" IncorrectKeyMaterialException
  refused 'the file stays shut' ENOKEY as "$cfo" cat "$share/wallets/ether-wallet.json"
  import_again 'the same material' "$work/material"
  state_is alias/imported-SHA-1 Enabled
  allowed 'the file is back' as "$cfo" cat "$share/wallets/ether-wallet.json"
  allowed 'byte for byte' \
    as "$cfo" cmp "$work/files/ether-wallet.json" "$share/wallets/ether-wallet.json"
}

new_external_key() {
  allowed "CreateKey with Origin=EXTERNAL: $1" \
    as "$cfo" keyfold kms create-key --origin EXTERNAL --alias "$1" \
    --administrators "user:$cfo" --users "user:$cfo" \
    --query KeyMetadata.KeyId --output text
  key_id[$1]=$out
  state_is "$1" PendingImport
}

state_is() {
  allowed 'the key' as "$cfo" keyfold kms describe-key --key-id "$1" \
    --query KeyMetadata.KeyState --output text
  equal "is $2" "$2" "$out"
}

# ask_for_parameters ALIAS ALGORITHM NAME keeps NAME.token and NAME.public.
ask_for_parameters() {
  allowed 'GetParametersForImport' as "$cfo" keyfold kms get-parameters-for-import \
    --key-id "$1" --wrapping-algorithm "$2" --wrapping-key-spec RSA_2048 --output json
  field ImportToken | base64 -d >"$work/desk/$3.token"
  field PublicKey | base64 -d >"$work/desk/$3.public"
}

# wrap MATERIAL SHA_1|SHA_256 NAME encrypts MATERIAL to NAME.public with the
# plain openssl program, as AWS's instructions do.
wrap() {
  local hash=${2/_/}
  allowed "openssl wraps 32 random bytes" openssl pkeyutl -encrypt -pubin -keyform DER \
    -inkey "$work/desk/$3.public" -in "$1" -out "$work/desk/$3.wrapped" \
    -pkeyopt rsa_padding_mode:oaep -pkeyopt "rsa_oaep_md:${hash,,}" \
    -pkeyopt "rsa_mgf1_md:${hash,,}"
  chmod go+r "$work/desk/$3.wrapped"
}

# import_again TEXT MATERIAL [ERROR] imports into alias/imported-SHA-1.
import_again() {
  local check=(allowed "$1 imported again")
  [ $# -lt 3 ] || check=(refused "$1" "$3")
  ask_for_parameters alias/imported-SHA-1 RSAES_OAEP_SHA_1 again
  wrap "$2" SHA_1 again
  "${check[@]}" as "$cfo" keyfold kms import-key-material --key-id alias/imported-SHA-1 \
    --import-token "fileb://$work/desk/again.token" \
    --encrypted-key-material "fileb://$work/desk/again.wrapped" \
    --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE
}

mix_up_keys() {
  heading "10. What one key wrapped, no other key opens; and no key comes out."
  allowed 'a data key wrapped by alias/cfo' as "$cfo" keyfold kms \
    generate-data-key-without-plaintext --key-id alias/cfo --key-spec AES_256 \
    --encryption-context file=1 --query CiphertextBlob --output text
  base64 -d <<<"$out" >"$work/desk/blob"
  chmod go+r "$work/desk/blob"
  refused 'given to another key' IncorrectKeyException as "$cfo" keyfold kms decrypt \
    --key-id alias/imported-SHA-1 --ciphertext-blob "fileb://$work/desk/blob" \
    --encryption-context file=1
  refused 'in another context' InvalidCiphertextException as "$cfo" keyfold kms decrypt \
    --key-id alias/cfo --ciphertext-blob "fileb://$work/desk/blob" \
    --encryption-context file=2
  allowed 'with its own key and context' as "$cfo" keyfold kms decrypt \
    --key-id alias/cfo --ciphertext-blob "fileb://$work/desk/blob" \
    --encryption-context file=1
  refused 'by accounts' AccessDeniedException as "$accounts" keyfold kms decrypt \
    --ciphertext-blob "fileb://$work/desk/blob" --encryption-context file=1
  equal 'the imported material is in no output and nowhere in the store' none "$(leaks)"
}

# leaks: where imported material is found, raw, in base64 or hexadecimal.
leaks() {
  /usr/bin/python3 - "$work/material" "$work/outputs" "$store" <<'PYTHON'
import base64, os, sys
material = open(sys.argv[1], 'rb').read()
forms = [material, base64.b64encode(material).rstrip(b'='), material.hex().encode()]
files = [sys.argv[2]] + [os.path.join(folder, name)
                         for folder, _, names in os.walk(sys.argv[3]) for name in names]
found = [path for path in files if os.path.isfile(path)
         for text in [open(path, 'rb').read()]
         if any(form in text or form.upper() in text for form in forms)]
print(' '.join(found) or 'none')
PYTHON
}

read_the_log() {
  local missing copy=$work/copy
  heading "11. Every one of these calls stands in the audit log."
  allowed 'the whole log' as root keyfold audit --output json
  printf '%s\n' "$out" >"$work/records"
  missing=$("$here/lib/audit-check" "$work/expected" "$work/records") && missing_code=0 || missing_code=$?
  equal 'who, when, which key, which file, from which process' '' "$(
    [ "$missing_code" -eq 0 ] || printf '%s' "$missing")"
  say "${missing##*$'\n'}"
  for event in KeyDisabled KeyDeletionScheduled; do
    equal "an alert: $event" found "$("$here/lib/audit-check" --alert "$event" "$work/records")"
  done
  allowed 'who has ConsoleReadOnlyAccess may read it' \
    as "$accounts" keyfold audit --user "$cfo"
  refused 'the user nobody may read of nobody else' AccessDeniedException \
    as nobody keyfold audit --user "$cfo"
  allowed 'its chain is whole' as root keyfold audit verify

  say 'One changed byte, in a copy of the store:'
  cp -a "$store" "$copy"
  tamper "$copy"
  capture as root keyfold audit verify --store "$copy" \
    --root-key "passphrase-file:$work/passphrase"
  equal 'verify says: damaged' 6 "$code"
  equal 'and names the record' "record $tampered" "$(grep -oiE 'record [0-9]+' <<<"$err$out" | head -1)"
}

# tamper changes one letter of the log's tenth record.
tamper() {
  local log
  log=$(find "$1" -name audit.log)
  tampered=10
  sed -i "${tampered}s/\"eventTime\":\"20/\"eventTime\":\"21/" "$log"
}
