#!/bin/sh
# The rules of style that a script can check: tabs, widths, lengths, words.
set -u
rc=0
bad()
{
	echo "tidy: $*"
	rc=1
}

if git rev-parse --git-dir >/dev/null 2>&1; then
	files=$(git ls-files --cached --others --exclude-standard)
else
	files=$(find . -path ./build -prune -o -type f -print | sed 's|^\./||')
fi
text=
for file in $files; do
	case $file in
	# A patch has a blank where the context line is empty.
	test/fuzz/corpus/* | test/golden/* | *.patch) continue ;;
	esac
	[ ! -f "$file" ] || text="$text $file"
done
sources=$(echo $text | tr ' ' '\n' | grep -E '\.([ch]|cc)$')

report()
{
	[ -z "$2" ] || bad "$1:
$2"
}

report "blanks at the end of a line" "$(grep -nE '[[:blank:]]+$' $text)"
report "blanks where a tab belongs" "$(grep -nE '^ {8}' $sources)"
# Spelt so that this file does not contain them.
report "words of unfinished work" "$(grep -nwE 'TO''DO|FIX''ME|X''XX|HA''CK' $text)"
report "paths of one machine" "$(grep -nE '(^|[^a-zA-Z0-9_.-])/(wo''rk|ho''me|ro''ot)/' $text)"
report "carriage returns" "$(grep -lP '\r' $text)"
for file in $text; do
	[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || bad "$file: no newline at the end"
done
for header in $(echo "$sources" | grep '\.h$'); do
	[ "$(grep -cE '^#(ifndef|define) [A-Z][A-Z0-9_]*_H$' "$header")" -eq 2 ] ||
	    bad "$header: no include guard"
done

# Lengths.  A function runs from "{" to "}" in the first column.  Tests may be
# wider and longer: tables of cases, and whole scenarios told in one place.
awk -v length_max=80 '
function columns(s,   i, n) {
	for (i = n = 0; i < length(s); i++)
		n = substr(s, i + 1, 1) == "\t" ? n + 8 - n % 8 : n + 1
	return n
}
function say(text) { print "tidy: " FILENAME ":" FNR ": " text; bad = 1 }
function file_end() {
	if (lines > (name ~ /^test\// ? 1500 : 900) && name ~ /\.c$/) { print "tidy: " name ": " lines " lines"; bad = 1 }
}
FNR == 1 {
	file_end()
	name = FILENAME
	start = 0
	width = name ~ /^test\// ? 125 : 100
}
{ lines = FNR }
columns($0) > width { say(columns($0) " columns") }
/^{/ { start = FNR }
/^}/ && start { if (FNR - start - 1 > length_max) say((FNR - start - 1) " lines in one function"); start = 0 }
END { file_end(); exit bad }
' $sources || rc=1

if command -v mandoc >/dev/null 2>&1; then
	for page in man/*.[1-8]; do
		[ ! -f "$page" ] || mandoc -T lint -W warning "$page" || bad "$page: see above"
	done
else
	echo "SKIPPED: mandoc -T lint: there is no mandoc"
fi
[ $rc -ne 0 ] || echo "tidy: $(echo $text | wc -w) files"
exit $rc
