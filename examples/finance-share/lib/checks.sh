# Checks and their outcome. Sourced by run.
#
#   as USER COMMAND...               runs COMMAND as a Unix user
#   allowed TEXT COMMAND...          must succeed
#   refused TEXT ERROR COMMAND...    must fail with ERROR
#   equal   TEXT WANTED GOT
#
# ERROR is an errno name, the name of a KMS exception, "usage", or several of
# these joined by "|". Each checked call that Keyfold must record is noted in
# $work/expected, which lib/audit-check compares with the audit log at the end.
# After a check, $out holds the command's standard output.

passed=0 failed=0 out=''
declare -A key_id      # alias -> key id, for the notes
declare -A key_of      # path on the share, or its folder -> key id

heading() { [ -n "$quiet" ] || printf '\n%s\n' "$*"; }
say() { [ -n "$quiet" ] || printf '    %s\n' "$*"; }

pass() {
  passed=$((passed + 1))
  [ -n "$quiet" ] || printf 'ok    %s\n' "$1"
}

fail() {  # TEXT EXPECTED HAPPENED
  failed=$((failed + 1))
  printf 'FAIL  %s\n      expected: %s\n      happened: %s\n' "$1" "$2" "$3"
}

equal() {
  if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "${2:-nothing}" "${3:-nothing}"; fi
}

as() {
  local user=$1
  shift
  setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- \
    env -i PATH="$work/bin:/usr/bin:/bin:/usr/sbin:/sbin" HOME=/ LC_ALL=C \
    KEYFOLD_MOUNT="$share" "$@"
}

# capture runs a command; its output goes to $out, $err and, for the search for
# leaked key material, to $work/outputs. $code is its exit code.
capture() {
  "$@" >"$work/stdout" 2>"$work/stderr" </dev/null && code=0 || code=$?
  out=$(tr -d '\0' <"$work/stdout")
  err=$(tr -d '\0' <"$work/stderr")
  cat "$work/stdout" "$work/stderr" >>"$work/outputs"
}

happened() {
  local text=${err:-$out}
  printf 'exit %s%s' "$code" "${text:+: ${text%%$'\n'*}}"
}

allowed() {
  local text=$1
  shift
  capture "$@"
  note ok "$@"
  if [ "$code" -eq 0 ]; then pass "$text"; else fail "$text" success "$(happened)"; fi
}

refused() {
  local text=$1 error=$2 wanted
  shift 2
  capture "$@"
  note "$error" "$@"
  for wanted in ${error//|/ }; do
    if shows "$wanted"; then
      pass "$text: ${wanted}"
      return
    fi
  done
  fail "$text" "${error//|/ or }" "$(happened)"
}

# shows tells whether the captured command failed with this error.
shows() {
  case $1 in
    EACCES) [ "$code" -ne 0 ] && [[ $err == *'Permission denied'* ]] ;;
    ENOKEY) [ "$code" -ne 0 ] && [[ $err == *'Required key not available'* ]] ;;
    EXDEV) [ "$code" -ne 0 ] && [[ $err == *'Invalid cross-device link'* ]] ;;
    usage) [ "$code" -eq 2 ] ;;
    *Exception)
      # 254 as from `aws kms`; 7 is a refusal by any other command of keyfold.
      [[ $code -eq 254 && $err == *"($1)"* ]] || [[ $code -eq 7 && $err == *"$1"* ]]
      ;;
    *) fail "check written wrongly" 'a known error' "$1"; return 1 ;;
  esac
}

# note writes down what the audit log must hold of a call:
# user, event, error, key id, path, program, separated by tabs. Nothing for a
# call that never reaches a key: mode bits, listings, usage errors.
note() {
  local error=$1 user event='' key='' path='' program word previous=''
  shift
  [ "$1" = as ] || return 0
  user=$2 program=${3##*/}
  shift 3
  case $error in EXDEV | usage) return 0 ;; esac
  case "$program $*" in
    "keyfold kms "*)
      event=$(sed -E 's/(^|-)([a-z])/\u\2/g' <<<"$2") ;;
    "keyfold iam apply "*) event=ApplyIam ;;
    "cat "* | "cp "* | "tee "* | "truncate "* | "python3 "* | "hold "*) event=file ;;
    *) return 0 ;;
  esac
  for word; do
    case $previous in
      --key-id) key=${key_id[$word]:-} ;;
    esac
    case $word in "$share"/*) path=${word#"$share"} ;; esac
    previous=$word
  done
  [ -z "$path" ] || key=${key_of[$path]:-${key_of[${path%/*}]:-}}
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' \
    "$user" "$event" "$error" "$key" "$path" "$program" >>"$work/expected"
}

# hold_open TEXT ERROR USER FILE COMMAND...: while USER holds FILE open and
# mapped, COMMAND is run; then both must fail within a second.
hold_open() {
  local text=$1 error=$2 user=$3 file=$4 holder
  shift 4
  rm -f "$work/go" "$work/held"
  mkfifo "$work/go"
  as "$user" "$work/bin/hold" "$file" "$error" <"$work/go" >"$work/held" 2>&1 &
  holder=$!
  holders+=("$holder")
  exec 8>"$work/go"
  for _ in {1..100}; do
    grep -q ready "$work/held" && break
    kill -0 "$holder" 2>/dev/null || break
    sleep 0.05
  done
  note ok as "$user" hold "$file"
  "$@"
  (echo go >&8) 2>/dev/null  # apart: the holder may be gone, and the pipe with it
  exec 8>&-
  if wait "$holder"; then
    pass "$text: $(grep -o 'mmap: SIGBUS after [0-9]* ms' "$work/held"), $(
      grep -o "read: $error after [0-9]* ms" "$work/held")"
  else
    fail "$text" "read: $error, mmap: SIGBUS, within 1 s" "$(tr '\n' ';' <"$work/held")"
  fi
}
