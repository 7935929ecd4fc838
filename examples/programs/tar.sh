#!/usr/bin/env bash
# tar: unpacks, compares, packs what it unpacked, and gets the same again.
. "$(dirname "$0")/checks.sh"
archive=$scratch/tree.tar

say "An archive of this project's sources and some special files"
make_tree "$scratch/tree"
check 'pack' tar --xattrs -S -cf "$archive" -C "$scratch/tree" .
mkdir "$place/once" "$place/twice"
check 'unpack' tar --xattrs --same-permissions -xf "$archive" -C "$place/once"
empty 'compare with the archive' tar --compare -f "$archive" -C "$place/once"

say 'An archive made and unpacked on the mount'
check 'pack' tar --xattrs -S -czf "$place/again.tar.gz" -C "$place/once" .
check 'unpack' tar --xattrs --same-permissions -xzf "$place/again.tar.gz" -C "$place/twice"
empty 'compare with the first archive' tar --compare -f "$archive" -C "$place/twice"
equal 'the attribute came along' kept \
  "$(getfattr --absolute-names --only-values -n user.note "$place/twice/modes/old")"
check 'the hole is one' test "$(stat -c %b "$place/twice/modes/sparse")" -lt 4096
echo more >>"$place/twice/fs/cli/main.cc"
differs 'a change is noticed' tar --compare -f "$archive" -C "$place/twice"
rm -r "$place/twice"
