#!/bin/sh
# figures.sh SIZE DIR PROGRAMS: runs the programs of test/figures one after the other
# (they measure, so never two at once) and writes plots and figures.txt to DIR.  It
# fails if a program does, or leaves no plot, or one that is not well-formed.  SIZE is
# small or full.
set -u
size=$1 dir=$2
shift 2

case $size in
full) small= ;;
small) small=--small ;;
*)
	echo "figures: SIZE is full or small, not $size" >&2
	exit 2
	;;
esac
mkdir -p "$dir" || exit 1
rm -f "$dir"/*.svg "$dir/figures.txt"
{
	echo "Figures of the Dynamo paper (SOSP 2007), repeated with libdyn; size: $size"
	[ "$size" = full ] || echo "SMALL: a test that the programs run, not a measurement"
} >"$dir/part"
count=0
for program in "$@"; do
	[ "$(basename "$program")" != wellformed ] || continue
	echo >>"$dir/part"
	"$program" $small "$dir" >>"$dir/part" || {
		echo "figures: $program failed" >&2
		exit 1
	}
	count=$((count + 1))
done
[ "$(ls "$dir"/*.svg | wc -l)" -ge "$count" ] || {
	echo "figures: fewer plots than programs in $dir" >&2
	exit 1
}
"$(dirname "$1")/wellformed" "$dir"/*.svg || exit 1
mv "$dir/part" "$dir/figures.txt"
echo "figures: $dir"
