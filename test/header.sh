#!/bin/sh
# The public header alone in C99, C11 and C++17 at the strictest level, and each
# internal header alone: whoever includes one needs nothing before it.
set -u
rc=0
strict="-pedantic -Wall -Wextra -Werror -Iinclude -fsyntax-only"

for std in c99 c11; do
	echo "dyn.h as $std"
	$CC -std=$std $strict -Wstrict-prototypes test/header/alone.c || rc=1
done
if command -v "$CXX" >/dev/null 2>&1; then
	echo "dyn.h as c++17"
	# C++17 cannot name the member that the initialisers set.
	"$CXX" -std=c++17 $strict -Wno-missing-field-initializers test/header/alone.cc || rc=1
else
	echo "SKIPPED: dyn.h as c++17: there is no $CXX"
fi
for header in lib/*/*.h; do
	[ -f "$header" ] || continue
	echo "#include \"${header#lib/}\"" |
	    $CC -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude -Ilib -fsyntax-only -x c - ||
	    { echo "$header does not compile alone"; rc=1; }
done
exit $rc
