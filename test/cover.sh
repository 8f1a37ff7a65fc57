#!/bin/sh
# Lines that the tests reached, by file, out of what gcov says.
# usage: cover.sh FOLDER-OF-OBJECTS
set -u
find "$1" -name '*.gcda' | sort | while read -r data; do
	gcov -n -o "$(dirname "$data")" "$data" 2>/dev/null
done | awk '
/^File / { file = $2; gsub(/\047/, "", file) }
/^Lines executed:/ {
	split($0, part, /[:% ]+/)
	if (file ~ /^lib\/.*\.c$/) {
		printf "%6.1f%% of %5d  %s\n", part[3], part[5], file
		all += part[5]; hit += part[3] * part[5] / 100
	}
	file = ""
}
END { if (all) printf "%6.1f%% of %5d  all\n", 100 * hit / all, all }'
