#!/bin/sh
# Does the suite catch planted bugs?  Each patch in test/mutants/ is applied to a
# copy of the tree, the unit programs that guard that part are built and run,
# and one of them has to fail.
#
#	mutants.sh BUILD [PREFIX]	only patches whose name begins with PREFIX
#
# A patch that does not apply or does not build is an error too: it has gone
# stale.  Prints one line a patch, and the count at the end.
#
# Patches sim-* are judged by the simulator alone, with up to 2,000 seeds, and those
# that test/mutants/by-sim lists also by the simulator; the line tells which was the
# first seed that failed.
set -u
B=$1
prefix=${2-}
here=$(pwd)
tree=$B/mutants
log=$B/mutants.log
export CK_VERBOSITY=minimal

# Programs of a part, the quickest first.
guards()
{
	case $1 in
	versions-*) echo clock object hlc key context merge versions_property ;;
	storage-*) echo engine dir engine_fault engine_crash hint ;;
	fire-*) echo cluster/fire ;;
	change-*) echo cluster/change ;;
	address-*) echo cluster/address ;;
	ctl-*) echo cluster/ctl ;;
	members-*) echo table zones view member ;;
	level-*) echo levels conn ;;
	net-*) echo loop queues conn tls ;;
	detect-*) echo detect ;;
	hint-*) echo quorum standin hint store write core_ring ;;
	lost-*) echo member catching saved cluster/lost ;;
	host-*) echo links saved node api values cluster/refuse cluster/life ;;
	repair-*) echo catching repair trees merkle admit read replica ;;
	forget-*) echo collect cluster/forget ;;
	core-*) echo outbox quorum store read write ask replica work pull core_ring ;;
	*) echo node api values ;;
	esac
}

# One job, so that the first seed told is the first that fails.
by_sim()
{
	make -s -C "$tree" build/default/test/sim/sim >"$log" 2>&1 || { echo "does not build"; return 1; }
	timeout 1200 "$tree/build/default/test/sim/sim" -x 1 2000 >"$log" 2>&1
	case $? in 0 | 124) echo "NOT CAUGHT"; return 1 ;; esac
	echo "sim, after $(sed -n 's/^seed \([0-9]*\) fails.*/\1/p' "$log" | head -n 1) seeds"
}

caught()
{
	case $1 in sim-*) by_sim; return ;; esac
	for name in $(guards "$1"); do
		case $name in */*) ;; *) name=unit/$name ;; esac
		[ -f "$tree/test/${name}_test.c" ] || continue
		program=$tree/build/default/test/${name}_test
		make -s -C "$tree" "build/default/test/${name}_test" >"$log" 2>&1 ||
		    { echo "does not build"; return 1; }
		timeout 120 "$program" >"$log" 2>&1 && continue
		grep -q "^$1\$" "$here/test/mutants/by-sim" || { echo "${name#unit/}"; return 0; }
		sim=$(by_sim)
		rc=$?
		echo "${name#unit/}; $sim"
		return $rc
	done
	echo "NOT CAUGHT"
	return 1
}

rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z | xargs -0 cp --parents -t "$tree" || exit 1
total=0
bad=0
for patch in "$here/test/mutants/$prefix"*.patch; do
	[ -f "$patch" ] || { echo "mutants: no patch begins with $prefix"; exit 1; }
	name=$(basename "$patch" .patch)
	total=$((total + 1))
	if ! patch -s -p1 -d "$tree" <"$patch" >"$log" 2>&1; then
		echo "$name: does not apply"
		bad=$((bad + 1))
		git ls-files -z lib | xargs -0 cp --parents -t "$tree"
		find "$tree" -name '*.rej' -delete
		continue
	fi
	by=$(caught "$name") || bad=$((bad + 1))
	echo "$name: $by"
	patch -s -R -p1 -d "$tree" <"$patch"
done
rm -rf "$tree"
echo "mutants: $((total - bad)) of $total caught"
[ $bad -eq 0 ]
