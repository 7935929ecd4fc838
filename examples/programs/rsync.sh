#!/usr/bin/env bash
# rsync to the folder and back, with links, holes, times and attributes, whole
# files and changed parts, and a check by checksum that finds nothing to do.
. "$(dirname "$0")/checks.sh"
source=$scratch/source copy=$place/copy back=$scratch/back
# Times count to the nanosecond: the sources change within the same second.
options=(-aHXS --numeric-ids --modify-window=-1)

# What rsync would still have to do, going by contents.
rest() { rsync "${options[@]}" -c --delete --dry-run --itemize-changes "$1/" "$2/"; }

say "A copy of this project's sources and some special files"
make_tree "$source"
check 'copy' rsync "${options[@]}" "$source/" "$copy/"
empty 'nothing is left to do, by checksum' rest "$source" "$copy"
equal 'the hard link is one' "$(stat -c %i "$copy/fs/cli/main.cc")" \
  "$(stat -c %i "$copy/modes/hardlink")"

say 'The source changes: a file grows, one changes inside, one is renamed, one goes'
echo more >>"$source/fs/cli/main.cc"
printf changed | dd of="$source/modes/odd size" bs=1 seek=2500000 conv=notrunc status=none
mv "$source/kms" "$source/kms-renamed"
rm -r "$source/policy"
differs 'rsync sees that' rest "$source" "$copy"
check 'whole files' rsync "${options[@]}" --delete "$source/" "$copy/"
empty 'nothing is left to do' rest "$source" "$copy"
printf again | dd of="$source/modes/odd size" bs=1 seek=1000000 conv=notrunc status=none
check 'only changed blocks, in place' \
  rsync -aHX --numeric-ids --modify-window=-1 --inplace --no-whole-file "$source/" "$copy/"
empty 'nothing is left to do' rest "$source" "$copy"

say 'Back again'
check 'copy' rsync "${options[@]}" "$copy/" "$back/"
empty 'what comes back is what went' rest "$source" "$back"
printf x | dd of="$copy/modes/odd size" bs=1 seek=4999999 conv=notrunc status=none
touch -r "$source/modes/odd size" "$copy/modes/odd size"
differs 'one changed byte is noticed' rest "$source" "$copy"
check 'and mended' rsync "${options[@]}" -c "$source/" "$copy/"
