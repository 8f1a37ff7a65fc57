#!/bin/sh
# Layers: base < model < core < host < lib/*.c.
#
# Method: (1) includes point down only; (2) what the objects of base, model and
# core leave undefined is either defined in the same or a lower layer or is on
# a short list.  So no clock, file, socket, thread or lock can come in unseen.
set -u
rc=0
bad()
{
	echo "layers: $*"
	rc=1
}

# The layer of a path under lib/, as a number; lib/*.c is the highest.
rank()
{
	case $1 in
	base/*) echo 1 ;;
	model/*) echo 2 ;;
	core/*) echo 3 ;;
	host/*) echo 4 ;;
	*) echo 5 ;;
	esac
}

# What each layer may include of the outside.
system_of()
{
	pure="dyn.h|stdbool.h|stddef.h|stdint.h|string.h|stdatomic.h|stdarg.h|stdio.h|inttypes.h|limits.h"
	case $1 in
	base/base.c) echo "$pure|stdlib.h" ;;
	base/hash.c) echo "$pure|openssl/.*" ;;
	base/* | model/* | core/*) echo "$pure" ;;
	*) echo ".*" ;;
	esac
}

for file in lib/*.[ch] lib/*/*.[ch]; do
	[ -f "$file" ] || continue
	path=${file#lib/}
	mine=$(rank "$path")
	for inner in $(sed -n 's/^#[ ]*include "\(.*\)".*/\1/p' "$file"); do
		[ -f "lib/$inner" ] || bad "$file includes \"$inner\": not a path under lib/"
		[ "$(rank "$inner")" -le "$mine" ] || bad "$file includes $inner, which is above it"
	done
	for outer in $(sed -n 's/^#[ ]*include <\(.*\)>.*/\1/p' "$file"); do
		echo "$outer" | grep -qxE "$(system_of "$path")" || bad "$file includes <$outer>"
	done
done

# Names that the pure layers may use: memory and strings.
common='mem(cpy|move|set|cmp|chr)|str(len|nlen|cmp|ncmp|chr|rchr|cspn)|v?snprintf|abort'
common="$common|_GLOBAL_OFFSET_TABLE_|__(memcpy|memmove|memset|snprintf|vsnprintf)_chk"
common="$common|__stack_chk_fail|__isoc.*"
tools='__(asan|ubsan|tsan|sanitizer|gcov|llvm|start|stop)_.*|__gcov.*'

allowed_of()
{
	case $1 in
	*/base/base.o) echo "$common|malloc|calloc|realloc|free|fprintf|__fprintf_chk|stderr" ;;
	*/base/hash.o) echo "$common|EVP_.*|HMAC" ;;
	*) echo "$common" ;;
	esac
}

count=0
defined=
for layer in base model core; do
	objects=$(ls "$B/obj/lib/$layer/"*.o 2>/dev/null)
	[ -n "$objects" ] || continue
	defined="$defined $("$NM" --defined-only -g $objects | awk 'NF == 3 { print $3 }')"
	echo $defined | tr ' ' '\n' | sort -u >"$B/defined"
	for object in $objects; do
		[ -f "${object#"$B"/obj/}" ] || [ -f "$(echo "$object" | sed "s|^$B/obj/||; s|o$|c|")" ] ||
		    continue
		count=$((count + 1))
		foreign=$("$NM" -u "$object" | awk '{ print $NF }' | grep -vxF -f "$B/defined" |
		    grep -vxE "$(allowed_of "$object")|$tools")
		[ -z "$foreign" ] || bad "$object uses" $foreign
	done
done
[ $rc -ne 0 ] || echo "layers: includes point down; $count objects of base, model, core are pure"
exit $rc
