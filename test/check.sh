#!/bin/sh
# Runs steps of `make check` and tells at the end which failed.  Made to be
# called by the Makefile, which names the programs and flags in the environment.
set -u
failed=

run()
{
	name=$1
	shift
	"$@" || { echo "FAILED: $name" >&2; failed="$failed $name"; }
}

# Some kernels spread addresses wider than the thread sanitizer can follow.
wrap=
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
if [ "$SANITIZE" = thread ] && setarch -R true 2>/dev/null; then
	wrap="setarch -R"
fi

# Each program, JOBS at a time: most of them wait more than they compute.  What
# one prints is shown when it has ended, so that no two mix.
jobs=${JOBS:-$(nproc)}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

programs()
{
	limit=$1
	shift
	printf '%s\n' "$@" | LIMIT=$limit WRAP=$wrap LOGS=$logs xargs -P "$jobs" -I '{}' sh -c '
		name=$(basename "${1%% *}")
		timeout "$LIMIT" $WRAP $1 >"$LOGS/$name" 2>&1 || echo "$1" >>"$LOGS/failed"
		exec 9>"$LOGS/lock"
		flock 9
		cat "$LOGS/$name"' sh '{}'
	[ -f "$logs/failed" ] || return 0
	failed="$failed $(sed 's/ .*//' "$logs/failed" | tr '\n' ' ')"
	sed 's/^/FAILED: /' "$logs/failed" >&2
	rm "$logs/failed"
}

fuzz()
{
	for program in $FUZZ; do
		name=$(basename "$program" _fuzz)
		corpus=test/fuzz/corpus/$name
		[ -d "$corpus" ] || corpus=
		set -- "$@" "$program $corpus"
	done
	programs 300 "$@"
}

started=$(date +%s)
for step in "$@"; do
	echo "== $step"
	case $step in
	header | layers | symbols | snippets | installed) run "$step" "test/$step.sh" ;;
	unit) programs 900 $UNIT ;;
	threaded) programs 900 $THREADED ;;
	cluster) programs 900 $CLUSTER ;;
	fuzz) fuzz ;;
	sim)
		run sim timeout 300 "$SIM" -f test/sim/seeds
		run sim timeout 900 "$SIM" -j "$jobs" "${FIRST:-1}" "${SEEDS:-200}"
		;;
	figures)
		# Beside what `make figures` has measured, not over it.
		dir=$B/figures/check
		[ -z "${SIZE:-}" ] || dir=$B/figures
		run figures timeout 900 test/figures.sh "${SIZE:-small}" "$dir" $FIGURES
		;;
	*) run "$step" false ;;
	esac
done
seconds=$(($(date +%s) - started))
if [ -n "$failed" ]; then
	echo "check: FAILED:$failed ($seconds s)" >&2
	exit 1
fi
echo "check: all passed: $* ($seconds s)"
