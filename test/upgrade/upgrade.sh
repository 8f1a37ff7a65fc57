#!/bin/sh
# Builds the commit that test/upgrade/PREVIOUS names, and replaces the peers of a ring
# of it by those of this tree, one at a time, and back: see upgrade.c.
#
#	upgrade.sh BUILD PROGRAM	the build of this tree, the test program
#
# Skipped, aloud, where the history is not there: a tar file, a shallow clone.
set -u
B=$1
program=$2
previous=$(cat test/upgrade/PREVIOUS)
commit=$(git rev-parse -q --verify "$previous^{commit}" 2>/dev/null) || {
	echo "SKIPPED: upgrade: commit $previous is not in the history here"
	exit 0
}
tree=build/upgrade/$commit
if [ ! -d "$tree" ]; then
	mkdir -p "$tree.new" || exit 1
	git archive "$commit" | tar -x -C "$tree.new" && mv "$tree.new" "$tree" || exit 1
fi
# By itself: flags and variables of this make are not for it.
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -j"$(nproc)" -C "$tree" \
	build/default/examples/dynd build/default/examples/dynctl >"$tree/make.log" 2>&1 || {
	cat "$tree/make.log"
	exit 1
}
PREVIOUS=$tree/build/default/examples PRESENT=$B/examples timeout 200 "$program"
