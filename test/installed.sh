#!/bin/sh
# What `make install` lays down is enough for a program that knows only
# pkg-config, with the shared and with the static library; uninstall takes all
# of it away again.
set -u
dir=$(cd "$B" && pwd)/installed
rm -rf "$dir"
fail()
{
	echo "installed: $*"
	exit 1
}

quiet_make()
{
	$MAKE --no-print-directory "$1" DESTDIR="$dir" PREFIX=/usr BINDIR=/usr/bin \
	    LIBDIR=/usr/lib INCLUDEDIR=/usr/include MANDIR=/usr/share/man >"$B/installed.log" 2>&1 ||
	    { cat "$B/installed.log"; fail "make $1 failed"; }
}

quiet_make install
find "$dir" -type f -o -type l | sed "s|^$dir||" | sort
cat >"$dir/program.c" <<END
#include <dyn.h>
#include <stdio.h>
#include <string.h>

int
main(void)
{
	printf("version %s\n", dyn_version());
	return strcmp(dyn_version(), DYN_VERSION_STRING) != 0;
}
END
export PKG_CONFIG_PATH="$dir/usr/lib/pkgconfig"
flags=$(pkg-config --define-variable=prefix="$dir/usr" --define-variable=libdir="$dir/usr/lib" \
    --define-variable=includedir="$dir/usr/include" --cflags --libs libdyn) || fail "no libdyn.pc"
static=$(pkg-config --define-variable=prefix="$dir/usr" --define-variable=libdir="$dir/usr/lib" \
    --define-variable=includedir="$dir/usr/include" --cflags --libs --static libdyn)
[ "$(pkg-config --modversion libdyn)" = "$(sed -n 's/.*VERSION_STRING "\(.*\)"/\1/p' include/dyn.h)" ] ||
    fail "libdyn.pc has another version than dyn.h"

$CC $FLAGS -o "$dir/shared" "$dir/program.c" $flags || fail "does not link with libdyn.so"
LD_LIBRARY_PATH="$dir/usr/lib" "$dir/shared" || fail "does not run with libdyn.so"
$CC $FLAGS -o "$dir/static" "$dir/program.c" $(echo "$static" |
    sed "s|-ldyn|$dir/usr/lib/libdyn.a|") || fail "does not link with libdyn.a"
"$dir/static" || fail "does not run with libdyn.a"

rm -f "$dir/program.c" "$dir/shared" "$dir/static"
quiet_make uninstall
left=$(find "$dir" -type f -o -type l)
[ -z "$left" ] || fail "uninstall leaves $left"
rm -rf "$dir"
echo "installed: shared and static programs run; nothing left after uninstall"
