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

programs()
{
	for program in "$@"; do
		run "$program" timeout 900 $wrap "$program"
	done
}

fuzz()
{
	for program in $FUZZ; do
		name=$(basename "$program" _fuzz)
		corpus=test/fuzz/corpus/$name
		[ -d "$corpus" ] || corpus=
		run "$program" timeout 300 $wrap "$program" $corpus
	done
}

started=$(date +%s)
for step in "$@"; do
	echo "== $step"
	case $step in
	header | layers | symbols | snippets | installed) run "$step" "test/$step.sh" ;;
	unit) programs $UNIT ;;
	threaded) programs $THREADED ;;
	cluster) programs $CLUSTER ;;
	fuzz) fuzz ;;
	*) run "$step" false ;;
	esac
done
seconds=$(($(date +%s) - started))
if [ -n "$failed" ]; then
	echo "check: FAILED:$failed ($seconds s)" >&2
	exit 1
fi
echo "check: all passed: $* ($seconds s)"
