# libdyn: plain GNU make.  Works as it is (pkg-config finds the libraries);
# ./configure, made by autoconf, writes config.mk with other choices.
# `make help` lists the targets and the variables.

-include config.mk

VERSION := $(shell sed -n 's/^.define DYN_VERSION_STRING "\(.*\)"/\1/p' include/dyn.h)
SOVERSION := 0

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy
NM ?= nm
CXX ?= c++
CFLAGS ?= -O2 -g

PACKAGES := libevent_core libevent_extra libssl libcrypto sqlite3
TEST_PACKAGES := check

# ------------------------------------------------------------------ variants
# Each set of flags that must not be mixed has its folder under build/.
comma := ,
empty :=
space := $(empty) $(empty)
VARIANT_PARTS := $(filter-out cc gcc,$(notdir $(firstword $(CC)))) \
	$(subst $(comma), ,$(SANITIZE)) $(if $(COVER),cover)
VARIANT := $(or $(subst $(space),-,$(strip $(VARIANT_PARTS))),default)
BUILD := build
B := $(BUILD)/$(VARIANT)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
MODE := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) \
	$(if $(COVER),--coverage -O0)

# pkg-config is asked when the first recipe needs it, once: `make deps` may
# have installed it a moment before.
once = $(eval $1 := $2)$($1)
LIB_CFLAGS = $(call once,LIB_CFLAGS,$(shell $(PKG_CONFIG) --cflags $(PACKAGES)))
LIB_LIBS = $(call once,LIB_LIBS,$(shell $(PKG_CONFIG) --libs $(PACKAGES)) -pthread)
TEST_CFLAGS = $(call once,TEST_CFLAGS,$(shell $(PKG_CONFIG) --cflags $(TEST_PACKAGES)))
TEST_LIBS = $(call once,TEST_LIBS,$(shell $(PKG_CONFIG) --libs $(TEST_PACKAGES)))

COMPILE = $(CC) -std=c11 -D_GNU_SOURCE -Iinclude $(CPPFLAGS) $(CFLAGS) $(MODE) $(WARNINGS) \
	-pthread -MMD -MP $(LIB_CFLAGS)
LINK = $(CC) $(CFLAGS) $(MODE) $(LDFLAGS) -pthread

ifeq ($(V),1)
say = @:
Q :=
else
say = @printf '  %-6s %s\n'
Q := @
endif

# ------------------------------------------------------------------- sources
# A file in test/ or examples/ is a program if it has a main; the others of a
# test folder go into an archive from which the programs take what they need.
MAIN_PATTERN := ^(main|TEST_MAIN|LLVMFuzzerTestOneInput)[(]
mains = $(if $1,$(shell grep -lE '$(MAIN_PATTERN)' $1 /dev/null))
LIB_SRC := $(wildcard lib/*.c lib/*/*.c)
EXAMPLE_SRC := $(wildcard examples/*.c)
TEST_SRC := $(wildcard test/*.c test/*/*.c)
FUZZ_DRIVER := test/fuzz/driver.c
TEST_MAIN_SRC := $(filter-out $(FUZZ_DRIVER),$(call mains,$(filter-out test/header/%,$(TEST_SRC))))
TEST_HELP_SRC := $(filter-out $(TEST_MAIN_SRC) test/header/%,$(TEST_SRC))

object = $(patsubst %.c,$B/obj/%.o,$1)
program = $(patsubst %.c,$B/%,$1)
LIB_OBJ := $(call object,$(LIB_SRC))
PROGRAMS := $(call program,$(EXAMPLE_SRC) $(TEST_MAIN_SRC))
UNIT := $(filter $B/test/unit/%,$(PROGRAMS))
CLUSTER := $(filter $B/test/cluster/%,$(PROGRAMS))
FUZZ := $(filter $B/test/fuzz/%,$(PROGRAMS))
BENCH := $(filter $B/test/bench/%,$(PROGRAMS))
EXAMPLES := $(filter $B/examples/%,$(PROGRAMS))

LIB_A := $B/libdyn.a
LIB_SO := $B/libdyn.so.$(SOVERSION)
# The library with its insides visible, and the helpers of the tests.
INSIDE_A := $B/libdyn-inside.a
HELP_A := $B/libtest.a

.PHONY: all programs
.DELETE_ON_ERROR:
.SECONDARY:
all: $(LIB_A) $(LIB_SO) $(EXAMPLES)
programs: $(PROGRAMS)

# --------------------------------------------------------------------- build
$B/obj/lib/%.o: lib/%.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(if $(PARTIAL),-)$Q$(COMPILE) -Ilib -fPIC -fvisibility=hidden -c -o $@ $<

$B/obj/test/%.o: test/%.c
	@mkdir -p $(@D)
	$(say) CC $<
	$Q$(COMPILE) -Ilib -I. -fPIC $(TEST_CFLAGS) -c -o $@ $<

$B/obj/examples/%.o: examples/%.c
	@mkdir -p $(@D)
	$(say) CC $<
	$Q$(COMPILE) -fPIC -c -o $@ $<

# One object whose hidden symbols are made local: names inside the library
# cannot collide with names of the program that links it.
$(LIB_A): $(LIB_OBJ)
	$(say) AR $@
	$Q$(LD) -r -o $B/libdyn.o $(LIB_OBJ)
	$Q$(OBJCOPY) --localize-hidden $B/libdyn.o
	$Qrm -f $@ && $(AR) qcs $@ $B/libdyn.o

# The linker of clang leaves the sanitizer's own symbols to the program.
$(LIB_SO): $(LIB_OBJ) lib/libdyn.map
	$(say) LINK $@
	$Q$(LINK) -shared -Wl,-soname,libdyn.so.$(SOVERSION) $(if $(SANITIZE),,-Wl$(comma)-z$(comma)defs) \
		-Wl,--version-script=lib/libdyn.map -o $@ $(LIB_OBJ) $(LIB_LIBS)
	$Qln -sf $(@F) $B/libdyn.so

$(INSIDE_A): $(LIB_OBJ)
	$(say) AR $@
	$Qrm -f $@ && $(AR) qcs $@ $(if $(PARTIAL),$$(ls $(LIB_OBJ) 2>/dev/null),$(LIB_OBJ))

$(HELP_A): $(call object,$(TEST_HELP_SRC))
	$(say) AR $@
	$Qrm -f $@ && $(AR) qcs $@ $^

$(EXAMPLES): $B/%: $B/obj/%.o $(LIB_A)
	@mkdir -p $(@D)
	$(say) LINK $@
	$Q$(LINK) -o $@ $^ $(LIB_LIBS)

$(UNIT) $(CLUSTER) $(FUZZ) $(BENCH): $B/%: $B/obj/%.o $(HELP_A) $(INSIDE_A)
	@mkdir -p $(@D)
	$(say) LINK $@
	$Q$(LINK) -o $@ $^ $(TEST_LIBS) $(LIB_LIBS)

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(call object,$(EXAMPLE_SRC) $(TEST_SRC)))

.PHONY: unit clean
unit: $(UNIT)
	$Qrc=0; for t in $^; do $$t || rc=1; done; exit $$rc

clean:
	rm -rf $(BUILD)
