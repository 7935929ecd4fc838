# What the scripts of this folder have in common. Sourced by them, with the folder
# to work in, empty, as first argument and a folder elsewhere as second.
#
#   say TEXT                    tells what comes
#   check TEXT COMMAND...       must succeed
#   equal TEXT WANTED GOT       must be the same
#   empty TEXT COMMAND...       must succeed and print nothing
#   differs TEXT COMMAND...     must fail or print something
#
# The first check that fails ends the script with exit code 1.
set -euo pipefail
export LC_ALL=C.UTF-8
place=$1 scratch=$2
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '    %s\n' "$*"; }
pass() { printf 'ok    %s\n' "$1"; }
fail() { printf 'FAIL  %s\n%s\n' "$1" "$2"; exit 1; }

check() {
  local text=$1 out
  shift
  out=$("$@" 2>&1 </dev/null) || fail "$text" "exit $?: $* : $out"
  pass "$text"
}

equal() { [ "$2" = "$3" ] && pass "$1" || fail "$1" "expected $2, but got $3"; }

empty() {
  local text=$1 out
  shift
  out=$("$@" 2>&1 </dev/null) || fail "$text" "exit $?: $* : $out"
  [ -z "$out" ] && pass "$text" || fail "$text" "$out"
}

differs() {
  local text=$1 out
  shift
  out=$("$@" 2>&1 </dev/null) || { pass "$text"; return; }
  [ -n "$out" ] && pass "$text" || fail "$text" "nothing was noticed: $*"
}

# make_tree FOLDER fills a folder with what file tools must carry over: this
# project's sources, links, holes, an empty folder, odd names, modes, attributes.
make_tree() {
  mkdir -p "$1"
  cp -a "$project"/{fs,kms,policy} "$1"
  mkdir "$1/empty" "$1/modes"
  ln -s ../fs/cli/main.cc "$1/modes/symlink"
  ln "$1/fs/cli/main.cc" "$1/modes/hardlink"
  truncate -s 3M "$1/modes/sparse"
  echo middle | dd of="$1/modes/sparse" bs=1M seek=1 conv=notrunc status=none
  head -c 5000001 /dev/urandom >"$1/modes/odd size"
  touch -d '2001-02-03 04:05:06.789012345' "$1/modes/old"
  touch "$1/modes/$(printf 'n%.0s' {1..255})" "$1/modes/Zürich ☃"
  chmod 2750 "$1/empty"
  chmod 0400 "$1/modes/old"
  setfattr -n user.note -v 'kept' "$1/modes/old"
}
