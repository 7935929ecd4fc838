# The share's surroundings: build, users, store, mount, and their removal.
# Sourced by run.

readonly mark='Keyfold finance-share example'
readonly base=${TMPDIR:-/var/tmp}
readonly people=(cfo accounts sysadmin) teams=(finance administrators)
holders=()

die() {
  printf 'run: %s\n' "$*" >&2
  exit 1
}

# build makes keyfold; as the user who called, so that root owns nothing in
# the source folder without need.
build() {
  "$root/tests/lib/install-packages" || die 'the packages above could not be installed'
  "$root/tests/lib/build" release || die 'the build failed; its log stands above'
}

become_root() {
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null ||
    die 'creating users and a shared mount needs root: run this as root'
  echo 'Creating users and a shared mount needs root; asking sudo.'
  exec sudo -- env TMPDIR="$base" "$here/run" --built "${arguments[@]}"
}

# only_one_run holds a lock for as long as the script lives.
only_one_run() {
  mkdir -p /run/lock
  exec 9>/run/lock/keyfold-finance-share
  flock -n 9 || die 'another run of this example is under way'
}

# made_here: users that a run of this example created, by their comment field.
made_here() { getent passwd | awk -F: -v mark="$mark" '$5 == mark { print $1 }'; }

# remove_all takes away what runs of this example made, whole or half.
remove_all() {
  local folder user team pid
  for pid in "${holders[@]}"; do kill "$pid" 2>/dev/null; done
  holders=()
  for folder in "$base"/keyfold-finance-share.*; do
    [ -d "$folder" ] || continue
    unmount_share "$folder"
    mountpoint -q "$folder/share" || rm -rf --one-file-system "$folder"
  done
  while read -r user; do
    team=$(id -nG "$user")
    userdel "$user" 2>/dev/null
    remove_groups "$user $team"
  done < <(made_here)
}

# remove_groups deletes those of the example's groups that are empty now.
remove_groups() {
  local team
  for team in $1; do
    case $team in
      finance | administrators | cfo | accounts | sysadmin | kf-*)
        [ -n "$(getent group "$team" | cut -d: -f4)" ] || groupdel "$team" 2>/dev/null ;;
    esac
  done
}

unmount_share() {
  local folder=$1 pid
  mountpoint -q "$folder/share" && "$folder/bin/keyfold" unmount "$folder/share" \
    >/dev/null 2>&1
  mountpoint -q "$folder/share" && umount -l "$folder/share"
  for _ in {1..50}; do
    [ -n "$(daemons "$folder")" ] || return 0
    sleep 0.1
  done
  for pid in $(daemons "$folder"); do kill -9 "$pid"; done
}

# daemons: processes that run this folder's own copy of the program.
daemons() {
  local process
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/exe" 2>/dev/null)" = "$1/bin/keyfold" ] && echo "${process##*/}"
  done
}

# choose_names keeps clear of users and groups that belong to the machine.
choose_names() {
  local name
  prefix=''
  for name in "${people[@]}" "${teams[@]}"; do
    if getent passwd "$name" >/dev/null || getent group "$name" >/dev/null; then
      prefix=kf-
      say "This machine has a user or group $name: the example's are called kf-..."
      break
    fi
  done
  cfo=${prefix}cfo accounts=${prefix}accounts sysadmin=${prefix}sysadmin
  finance=${prefix}finance administrators=${prefix}administrators
}

make_users() {
  local options=(-M -d / -s /usr/sbin/nologin -c "$mark")
  groupadd "$finance" && useradd "${options[@]}" -N -g "$finance" "$cfo" &&
    groupadd "$administrators" &&
    useradd "${options[@]}" -N -g "$administrators" "$sysadmin" &&
    useradd "${options[@]}" -U "$accounts" || die 'users and groups could not be made'
}

# make_folder lays out the working folder. Users run a copy of the program, as
# they may not be able to reach the source folder.
make_folder() {
  work=$(mktemp -d "$base/keyfold-finance-share.XXXXXX") || die "no folder in $base"
  share=$work/share store=$work/store
  mkdir "$work/bin" "$work/share" "$work/files" "$work/policies" "$work/desk"
  cp "$root/build/release/keyfold" "$here/lib/hold" "$work/bin/"
  cp "$here"/files/* "$work/files/"
  local policy
  for policy in "$here"/policies/*; do
    sed -E "s/\b(cfo|accounts|sysadmin|finance|administrators)\b/$prefix\1/g" \
      "$policy" >"$work/policies/${policy##*/}"
  done
  chmod -R go+rX "$work"
  chmod 1777 "$work/desk"
  : >"$work/outputs"
  : >"$work/expected"
  ( umask 077; head -c 24 /dev/urandom | base64 >"$work/passphrase" )
}

# mount_share makes the store and mounts it. Its top folder belongs to finance.
mount_share() {
  export KEYFOLD_MOUNT=$share LC_ALL=C
  [ -e /dev/fuse ] || die '/dev/fuse is missing: load the fuse module, or give it to the container'
  "$work/bin/keyfold" init "$store" --root-key "passphrase-file:$work/passphrase" \
    >/dev/null || die 'keyfold init failed'
  "$work/bin/keyfold" mount "$store" "$share" 9>&- \
    -o "root-key=passphrase-file:$work/passphrase" || die 'keyfold mount failed'
  mountpoint -q "$share" || die 'keyfold mount returned, but nothing is mounted'
  chgrp "$finance" "$share" && chmod 0775 "$share" || die 'chmod on the share failed'
}

# clean_up ends a run, whichever way it ends.
clean_up() {
  local result=$?
  trap - EXIT INT TERM HUP
  if [ -n "$keep" ] && [ -n "${work:-}" ] && mountpoint -q "$work/share"; then
    touch "$work/kept"
    explain_kept
  else
    remove_all
  fi
  exit "$result"
}

explain_kept() {
  cat <<TEXT

The share is still mounted on $share. Look around, for example:
  export PATH=$work/bin:\$PATH KEYFOLD_MOUNT=$share
  setpriv --reuid=$cfo --regid=$finance --init-groups cat $share/reports/ether-wallet.txt
  setpriv --reuid=nobody --regid=nogroup --init-groups cat $share/reports/ether-wallet.txt
  keyfold iam simulate --user $accounts --action kms:Decrypt --key alias/cfo
  keyfold audit --user $accounts
Remove share, users and files with:
  $here/run --clean
TEXT
}
