#!/bin/sh
# The demonstration: demo.sh BUILD_FOLDER [INPUT].  See demo.c.
set -eu
here=$(dirname "$0")
exec "${1:?usage: demo.sh BUILD_FOLDER [INPUT]}/examples/demo" "$here/sample-packages.txt" \
	${2+"$2"}
