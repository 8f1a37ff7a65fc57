#!/bin/sh
# The static and the shared library define exactly the calls of dyn.h.
#
# Method: nm against the functions that the preprocessed header declares.  One
# too many could collide with a name of the program; one too few is a promise
# the library does not keep.
set -u
rc=0

$CC -std=c11 -E -P -Iinclude include/dyn.h | tr '\n' ' ' | tr ';' '\n' |
    grep 'visibility("default")' | sed 's/__attribute__ *(([^()]*([^()]*)))//g; s/__attribute__ *(([^()]*))//g' |
    sed -n 's/^[^(]*[ *]\(dyn_[a-z0-9_]*\)(.*/\1/p' | sort -u >"$B/declared"
"$NM" -D --defined-only "$B/libdyn.so.0" | awk '$2 != "A" { print $NF }' |
    sed 's/@.*//' | sort -u >"$B/exported.so"
"$NM" -g --defined-only "$B/libdyn.a" | awk 'NF == 3 { print $3 }' | sort -u >"$B/exported.a"

for kind in so a; do
	# The compilers' own names in instrumented objects are not ours.
	grep -vE '^(__(asan|ubsan|tsan|odr_asan|gcov|llvm|start|stop)|_?_?dyn_.*\.asan)' \
	    "$B/exported.$kind" >"$B/ours"
	extra=$(comm -13 "$B/declared" "$B/ours")
	lacking=$(comm -23 "$B/declared" "$B/ours")
	[ -z "$extra" ] || { echo "libdyn.$kind exports what dyn.h does not declare:" $extra; rc=1; }
	[ -z "$lacking" ] || { echo "libdyn.$kind lacks:" $lacking; rc=1; }
done
soname=$(readelf -d "$B/libdyn.so.0" | sed -n 's/.*SONAME.*\[\(.*\)\].*/\1/p')
[ "$soname" = libdyn.so.0 ] || { echo "soname is '$soname'"; rc=1; }
[ $rc -ne 0 ] || echo "symbols: both libraries export the $(wc -l <"$B/declared") calls of dyn.h"
exit $rc
