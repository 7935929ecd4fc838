#!/usr/bin/env bash
# git: commits, a merge, garbage collection, clones by hard link and by copy.
. "$(dirname "$0")/checks.sh"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org
export GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org

say "A repository with this project's sources"
check 'init' git -c init.defaultBranch=main init -q "$place/origin"
cd "$place/origin"
cp -r "$project"/{fs,kms,policy} .
check 'add' git add .
check 'commit' git commit -q -m 'Add the sources'
empty 'nothing is left to commit' git status --porcelain

say 'Two branches and their merge'
check 'a branch' git checkout -q -b side
echo 'side' >>fs/cli/main.cc
check 'commit on it' git commit -q -a -m 'Change a line'
check 'back to main' git checkout -q main
for number in {1..10}; do
  echo "$number" >"note-$number"
  git add . && git commit -q -m "Note $number" || fail "commit $number" ''
done
check 'merge' git merge -q --no-edit side
equal 'the merge has the branch' side "$(tail -n 1 fs/cli/main.cc)"
equal '13 commits' 13 "$(git rev-list --count HEAD)"

say 'Garbage collection packs all objects; git reads packs through memory maps'
check 'gc' git gc -q --prune=now
equal 'no loose objects' '0 objects, 0 kilobytes' "$(git count-objects)"
check 'fsck' git fsck --strict --no-progress

say 'Clones'
check 'by hard link' git clone -q "$place/origin" "$place/linked"
check 'by copy' git clone -q --no-hardlinks "$place/origin" "$place/copied"
for clone in linked copied; do
  check "fsck of $clone" git -C "$place/$clone" fsck --strict --no-progress
  empty "$clone is clean" git -C "$place/$clone" status --porcelain
  equal "$clone has the same files" "$(git rev-parse 'HEAD^{tree}')" \
    "$(git -C "$place/$clone" write-tree)"
done
echo change >>"$place/copied/fs/cli/main.cc"
differs 'a change is noticed' git -C "$place/copied" status --porcelain
check 'and undone' git -C "$place/copied" checkout -q .
empty 'clean again' git -C "$place/copied" status --porcelain
