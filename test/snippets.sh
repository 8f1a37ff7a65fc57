#!/bin/sh
# Programs in the man pages and the README compile without a warning, and link
# if they have a main: displays that start with #include.
set -u
rc=0
dir=$B/snippets
rm -rf "$dir"
mkdir -p "$dir"

# mdoc: .Bd -literal ... .Ed; README: ``` fences or blocks indented by a tab or
# four blanks.  A block is kept if its first line is an #include.
for page in man/*.[1-8]; do
	[ -f "$page" ] || continue
	awk -v out="$dir/$(basename "$page" | tr . _)" '
	function flush() { if (text ~ /^#include/) printf "%s", text >(out "_" ++n ".c"); text = "" }
	/^\.Ed/ { flush(); on = 0; next }
	/^\.Bd .*-literal/ { on = 1; next }
	on { gsub(/\\&/, ""); gsub(/\\-/, "-"); gsub(/\\e|\\\\/, "\\"); text = text $0 "\n" }
	' "$page"
done
if [ -f README ]; then
	awk -v out="$dir/README" '
	function flush() { if (text ~ /^#include/) printf "%s", text >(out "_" ++n ".c"); text = "" }
	/^```/ { fenced = !fenced; flush(); next }
	fenced { text = text $0 "\n"; next }
	/^(    |\t)/ { sub(/^(    |\t)/, ""); text = text $0 "\n"; next }
	/^[ \t]*$/ { if (text != "") text = text "\n"; next }
	{ flush() }
	END { flush() }
	' README
fi
count=0
for source in "$dir"/*.c; do
	[ -f "$source" ] || continue
	count=$((count + 1))
	object=${source%.c}.o
	$CC -std=c11 -D_GNU_SOURCE $FLAGS -Iinclude -Wall -Wextra -Werror -c -o "$object" "$source" ||
	    { echo "snippet $source does not compile"; rc=1; continue; }
	if grep -qE '^(int )?main\(' "$source"; then
		$CC $FLAGS -o "${source%.c}" "$object" "$B/libdyn.a" $LIB_LIBS -pthread ||
		    { echo "snippet $source does not link"; rc=1; }
	fi
done
echo "snippets: $count of man pages and README compiled"
exit $rc
