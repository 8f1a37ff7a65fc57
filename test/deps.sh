#!/bin/sh
# Installs what the build and the tests lack, and nothing else: by apt-get where
# there is one, else it prints the command.  `deps.sh ci` also wants the tools
# of .ci/run.
set -u
want=${1:-build}
CC=${CC:-cc}
missing=

have()
{
	command -v "$1" >/dev/null 2>&1
}

# Without pkg-config nobody knows which libraries are there.
library()
{
	pkg-config --exists "$1" 2>/dev/null || missing="$missing $1"
}

tool()
{
	have "$1" || missing="$missing $1"
}

c_library()
{
	echo '#include <stdio.h>' | "$CC" -E -x c - >/dev/null 2>&1 || missing="$missing libc"
}

have "$CC" || missing="$missing $(echo "$CC" | sed 's/^cc$/gcc/')"
tool make
tool pkg-config
c_library
for name in libevent_core libevent_extra libssl libcrypto sqlite3 check; do
	library "$name"
done
if [ "$want" = ci ]; then
	for name in g++ clang clang-tidy cppcheck autoconf mandoc git ip; do
		tool "$name"
	done
fi
if [ -z "$missing" ]; then
	echo "deps: nothing is missing"
	exit 0
fi
echo "deps: missing:$missing"

# The packages of one distribution for what is missing.
packages()
{
	for name in $missing; do
		case $1:$name in
		apt:libc) echo libc6-dev ;;
		apt:libevent*) echo libevent-dev ;;
		apt:libssl | apt:libcrypto) echo libssl-dev ;;
		apt:sqlite3) echo libsqlite3-dev ;;
		apt:ip) echo iproute2 ;;
		dnf:libc) echo glibc-devel ;;
		dnf:libevent*) echo libevent-devel ;;
		dnf:libssl | dnf:libcrypto) echo openssl-devel ;;
		dnf:sqlite3) echo sqlite-devel ;;
		dnf:check) echo check-devel ;;
		dnf:pkg-config) echo pkgconf-pkg-config ;;
		dnf:g++) echo gcc-c++ ;;
		dnf:clang-tidy) echo clang-tools-extra ;;
		dnf:ip) echo iproute ;;
		apk:libc) echo musl-dev ;;
		apk:libevent*) echo libevent-dev ;;
		apk:libssl | apk:libcrypto) echo openssl-dev ;;
		apk:sqlite3) echo sqlite-dev ;;
		apk:check) echo check-dev ;;
		apk:pkg-config) echo pkgconf ;;
		apk:clang-tidy) echo clang-extra-tools ;;
		apk:ip) echo iproute2 ;;
		pacman:libc) echo glibc ;;
		pacman:libevent*) echo libevent ;;
		pacman:libssl | pacman:libcrypto) echo openssl ;;
		pacman:sqlite3) echo sqlite ;;
		pacman:pkg-config) echo pkgconf ;;
		pacman:g++) echo gcc ;;
		pacman:clang-tidy) echo clang ;;
		pacman:ip) echo iproute2 ;;
		brew:libc) ;;
		brew:libevent*) echo libevent ;;
		brew:libssl | brew:libcrypto) echo openssl@3 ;;
		brew:sqlite3) echo sqlite ;;
		brew:pkg-config) echo pkgconf ;;
		brew:g++) echo gcc ;;
		brew:clang | brew:clang-tidy) echo llvm ;;
		*) echo "$name" ;;
		esac
	done | sort -u | tr '\n' ' '
}

sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
if have apt-get; then
	list=$(packages apt)
	command="apt-get install -y --no-install-recommends $list"
	if [ -z "$sudo" ] || have sudo; then
		echo "deps: $sudo $command"
		$sudo apt-get update -q || echo "deps: apt-get update failed, going on with the old lists"
		DEBIAN_FRONTEND=noninteractive $sudo $command
		exit $?
	fi
elif have dnf; then
	command="dnf install $(packages dnf)"
elif have apk; then
	command="apk add $(packages apk)"
elif have pacman; then
	command="pacman -S --needed $(packages pacman)"
elif have brew; then
	sudo=
	command="brew install $(packages brew)"
else
	echo "deps: no package manager known here; install the above by hand" >&2
	exit 1
fi
echo "deps: to install it, run:  ${sudo:+$sudo }$command" >&2
exit 1
