# libdyn: plain GNU make.  Works as it is (pkg-config finds the libraries);
# ./configure, made by autoconf, writes config.mk with other choices.
# `make help` lists the targets and the variables.

ifneq ($(filter deps,$(MAKECMDGOALS)),)

# `make deps check`: first what is missing, then the rest by a make that is
# started after it, since even pkg-config may have been missing until now.
REST := $(filter-out deps,$(MAKECMDGOALS))
.PHONY: deps $(REST)
deps:
	@CC='$(CC)' test/deps.sh $(DEPS)
ifneq ($(REST),)
$(firstword $(REST)): deps
	@+$(MAKE) --no-print-directory $(REST)
$(wordlist 2,$(words $(REST)),$(REST)): $(firstword $(REST))
	@:
endif

else

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
CFLAGS ?= -O2 -g

PACKAGES := libevent_core libevent_extra libssl libcrypto sqlite3
TEST_PACKAGES := check

# ------------------------------------------------------------------ variants
# Flags that must not be mixed have their own folder under build/.
comma := ,
empty :=
space := $(empty) $(empty)
PARTS := $(filter-out cc gcc,$(notdir $(firstword $(CC)))) \
	$(subst $(comma), ,$(SANITIZE)) $(if $(COVER),cover)
VARIANT := $(or $(subst $(space),-,$(strip $(PARTS))),default)
BUILD := build
B := $(BUILD)/$(VARIANT)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
MODE := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) \
	$(if $(filter undefined,$(subst $(comma), ,$(SANITIZE))),-fno-sanitize-recover=undefined) \
	$(if $(COVER),--coverage -O0)

# pkg-config is asked once, when the first recipe needs it.
ask = $(shell $(PKG_CONFIG) $1 || echo 'libraries are missing: make deps' >&2)
once = $(eval $1 := $2)$($1)
ifeq ($(origin LIB_CFLAGS),undefined)
LIB_CFLAGS = $(call once,LIB_CFLAGS,$(call ask,--cflags $(PACKAGES)))
LIB_LIBS = $(call once,LIB_LIBS,$(call ask,--libs $(PACKAGES)))
endif
TEST_CFLAGS = $(call once,TEST_CFLAGS,$(call ask,--cflags $(TEST_PACKAGES)))
TEST_LIBS = $(call once,TEST_LIBS,$(call ask,--libs $(TEST_PACKAGES)))

FLAGS = $(CPPFLAGS) $(CFLAGS) $(MODE)
COMPILE = $(CC) -std=c11 -D_GNU_SOURCE -Iinclude $(FLAGS) $(WARNINGS) -pthread -MMD -MP \
	$(LIB_CFLAGS)
LINK = $(CC) $(FLAGS) $(LDFLAGS) -pthread

ifeq ($(V),1)
say = @:
Q :=
else
say = @printf '  %-7s %s\n'
Q := @
endif

# ------------------------------------------------------------------- sources
# A file in examples/ or test/ is a program if it has a main; the others go into
# an archive from which the programs there take what they need.
MAIN_PATTERN := ^(main|TEST_MAIN|LLVMFuzzerTestOneInput)[(]
mains = $(if $1,$(shell grep -lE '$(MAIN_PATTERN)' $1 /dev/null))
LIB_SRC := $(wildcard lib/*.c lib/*/*.c)
EXAMPLE_SRC := $(wildcard examples/*.c)
EXAMPLE_MAINS := $(call mains,$(EXAMPLE_SRC))
EXAMPLE_HELP := $(filter-out $(EXAMPLE_MAINS),$(EXAMPLE_SRC))
TEST_SRC := $(filter-out test/header/%,$(wildcard test/*.c test/*/*.c))
TEST_MAINS := $(call mains,$(filter-out test/fuzz/driver.c,$(TEST_SRC)))
TEST_HELP := $(filter-out $(TEST_MAINS),$(TEST_SRC))

object = $(patsubst %.c,$B/obj/%.o,$1)
LIB_OBJ := $(call object,$(LIB_SRC))
PROGRAMS := $(patsubst %.c,$B/%,$(EXAMPLE_MAINS) $(TEST_MAINS))
EXAMPLES := $(filter $B/examples/%,$(PROGRAMS))
TESTS := $(filter-out $B/examples/%,$(PROGRAMS))
UNIT := $(filter $B/test/unit/%,$(TESTS))
FUZZ := $(filter $B/test/fuzz/%,$(TESTS))
CLUSTER := $(filter $B/test/cluster/%,$(TESTS))
SIM := $B/test/sim/sim
BENCH := $(filter $B/test/bench/%,$(TESTS))
FIGURES := $(filter $B/test/figures/%,$(TESTS))
# Unit tests that start threads: what the thread sanitizer has to look at.
THREAD_PATTERN := include ("host/|"(test/)?net[.]h|"api[.]h|<pthread.h>)|dyn_open[(]
THREADED := $(if $(UNIT),$(patsubst %.c,$B/%,$(shell grep -lE '$(THREAD_PATTERN)' \
	$(patsubst $B/%,%.c,$(UNIT)) /dev/null)))

LIB_A := $B/libdyn.a
LIB_SO := $B/libdyn.so.$(SOVERSION)
INSIDE_A := $B/libdyn-inside.a
HELP_A := $B/libtest.a
EXAMPLE_A := $B/libexample.a

.PHONY: all programs FORCE
.DELETE_ON_ERROR:
.SECONDARY:
all: $(LIB_A) $(LIB_SO) $(EXAMPLES)
programs: all $(TESTS)

# --------------------------------------------------------------------- build
# A change of flags or of the list of files rebuilds what depends on it.
remember = @mkdir -p $(@D); echo '$1' | cmp -s - $@ || echo '$1' >$@
$B/flags: FORCE
	$(call remember,$(CC) $(FLAGS) $(WARNINGS) $(LDFLAGS))
$B/sources: FORCE
	$(call remember,$(LIB_SRC) $(TEST_HELP) $(EXAMPLE_HELP))

$B/obj/lib/%.o: lib/%.c $B/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$Q$(COMPILE) -Ilib -fPIC -fvisibility=hidden -c -o $@ $<

$B/obj/test/%.o: test/%.c $B/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$Q$(COMPILE) -Ilib -I. -Itest -Iexamples $(TEST_CFLAGS) -c -o $@ $<

$B/obj/examples/%.o: examples/%.c $B/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$Q$(COMPILE) -c -o $@ $<

# One object whose hidden symbols are made local: names inside the library
# cannot collide with names of the program that links it.
$(LIB_A): $(LIB_OBJ) $B/sources
	$(say) AR $@
	$Q$(LD) -r -o $B/libdyn.o $(LIB_OBJ)
	$Q$(OBJCOPY) --localize-hidden $B/libdyn.o
	$Qrm -f $@ && $(AR) qcs $@ $B/libdyn.o

# A shared library leaves the sanitizer's own symbols to the program.
$(LIB_SO): $(LIB_OBJ) $B/sources lib/libdyn.map
	$(say) LINK $@
	$Q$(LINK) -shared -Wl,-soname,$(@F) $(if $(SANITIZE),,-Wl$(comma)-z$(comma)defs) \
		-Wl,--version-script=lib/libdyn.map -o $@ $(LIB_OBJ) $(LIB_LIBS)
	$Qln -sf $(@F) $B/libdyn.so

# For the tests: the library with its insides visible, and their helpers.
$(INSIDE_A): $(LIB_OBJ) $B/sources
	$(say) AR $@
	$Qrm -f $@ && $(AR) qcs $@ $(LIB_OBJ)

$(HELP_A): $(call object,$(TEST_HELP))
$(EXAMPLE_A): $(call object,$(EXAMPLE_HELP))
$(HELP_A) $(EXAMPLE_A): $B/sources
	$(say) AR $@
	$Qrm -f $@ && $(AR) qcs $@ $(filter %.o,$^)

$(EXAMPLES): $B/%: $B/obj/%.o $(EXAMPLE_A) $(LIB_A)
	@mkdir -p $(@D)
	$(say) LINK $@
	$Q$(LINK) -o $@ $^ $(LIB_LIBS)

$(TESTS): $B/%: $B/obj/%.o $(HELP_A) $(EXAMPLE_A) $(INSIDE_A)
	@mkdir -p $(@D)
	$(say) LINK $@
	$Q$(LINK) -o $@ $^ $(TEST_LIBS) $(LIB_LIBS) -lm

# It runs them.
$B/test/cluster/ctl_test: | $B/examples/dynctl $B/examples/dynd

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(call object,$(EXAMPLE_SRC) $(TEST_SRC)))

# --------------------------------------------------------------------- tests
# test/check.sh runs the steps it is given and ends with what failed.
STEPS := header layers symbols snippets installed unit fuzz sim cluster figures
CHECK = B='$B' CC='$(CC)' CXX='$(CXX)' NM='$(NM)' MAKE='$(MAKE)' FLAGS='$(FLAGS)' \
	SANITIZE='$(SANITIZE)' LIB_LIBS='$(LIB_LIBS)' UNIT='$(UNIT)' THREADED='$(THREADED)' \
	FUZZ='$(FUZZ)' FIGURES='$(FIGURES)' CLUSTER='$(CLUSTER)' SIM='$(SIM)' SEEDS='$(SEEDS)' FIRST='$(FIRST)' \
	test/check.sh

.PHONY: check threaded demo bench bench-engine bench-handoff bench-detect bench-repair bench-outage bench-restart bench-grow bench-transfer placement accuse split scale churn chaos upgrade cover mutants tidy analyze format $(STEPS)
check: programs
	@+$(CHECK) $(STEPS)
header:
	@$(CHECK) $@
layers: $(LIB_OBJ)
	@$(CHECK) $@
symbols: $(LIB_A) $(LIB_SO)
	@$(CHECK) $@
snippets: $(LIB_A)
	@$(CHECK) $@
installed: all
	@+$(CHECK) $@
unit: $(UNIT)
	@$(CHECK) $@
fuzz: $(FUZZ)
	@$(CHECK) $@
# SEEDS= rings from seed FIRST= on, JOBS= at a time.
sim: $(SIM)
	@$(CHECK) $@
cluster: $(CLUSTER) $(EXAMPLES)
	@$(CHECK) $@
# Plots and a table beside those of the paper; SIZE=small: a test of the programs.
figures: $(FIGURES)
	@SIZE=$(or $(SIZE),full) $(CHECK) $@
	@cat $B/figures/figures.txt
threaded: $(THREADED) $(CLUSTER) $(EXAMPLES)
	@$(CHECK) $@ cluster

demo: all
	@examples/demo.sh $B
# The ring; and the storage engine alone.
bench: $(BENCH)
	@$B/test/bench/bench $(BENCH_ARGS)
bench-engine: $(BENCH)
	@$B/test/bench/engine_bench $(BENCH_ARGS)
# 10,000 hints to an owner that is back, and what others feel of it.
bench-handoff: $(BENCH)
	@CK_DEFAULT_TIMEOUT=300 CK_VERBOSITY=silent $B/test/bench/handoff_bench
bench-detect: $(BENCH)
	@CK_VERBOSITY=silent $B/test/bench/detect_bench
bench-repair: $(BENCH)
	@KEYS='$(KEYS)' CK_DEFAULT_TIMEOUT=900 CK_VERBOSITY=silent $B/test/bench/repair_bench
bench-outage: $(BENCH)
	@CK_DEFAULT_TIMEOUT=300 CK_VERBOSITY=silent $B/test/bench/outage_bench
bench-restart: $(BENCH)
	@GIB='$(GIB)' CK_DEFAULT_TIMEOUT=900 CK_VERBOSITY=silent $B/test/bench/restart_bench
# Three join five under load, and three leave; how fast that moves without load.
bench-grow: $(BENCH)
	@KEYS='$(KEYS)' RUNS='$(RUNS)' CK_DEFAULT_TIMEOUT=1800 CK_VERBOSITY=silent $B/test/bench/grow_bench
bench-transfer: $(BENCH)
	@KEYS='$(KEYS)' RUNS='$(RUNS)' CK_DEFAULT_TIMEOUT=1800 CK_VERBOSITY=silent $B/test/bench/transfer_bench
placement: $B/test/bench/placement_bench
	@$<
accuse: $B/test/sim/accuse
	@$B/test/sim/accuse $(or $(HOURS),200) $(or $(LOSS),5)
split: $B/test/sim/split
	@$B/test/sim/split $(or $(SEEDS),50)
scale: $B/test/sim/scale
	@$B/test/sim/scale $(NODES)
churn: $B/test/sim/churn
	@$B/test/sim/churn $(or $(SEEDS),5)
# Real processes in namespaces of their own; SECONDS= of faults from SEED=.
chaos: $B/test/chaos/chaos
	@SECONDS='$(SECONDS)' SEED='$(SEED)' $<
# Peers of an earlier commit replaced by those of this tree, and back.
upgrade: $B/test/upgrade/upgrade $(EXAMPLES)
	@test/upgrade/upgrade.sh '$B' $<

cover:
	@+$(MAKE) --no-print-directory COVER=1 programs
	@+$(MAKE) --no-print-directory COVER=1 unit fuzz cluster
	@test/cover.sh $(BUILD)/$(if $(filter default,$(VARIANT)),,$(VARIANT)-)cover/obj/lib

# Planted bugs: does the suite catch them?  MUTANTS= begins the names of some.
mutants:
	@test/mutants.sh '$B' '$(MUTANTS)'
tidy:
	@test/tidy.sh
analyze:
	@CC='$(CC)' CFLAGS='$(LIB_CFLAGS) $(TEST_CFLAGS)' test/analyze.sh
format:
	clang-format -i $(wildcard include/*.h lib/*.[ch] lib/*/*.[ch] examples/*.[ch] \
		test/*.[ch] test/*/*.[ch])

# ------------------------------------------------------------------- install
D := $(DESTDIR)
MAN := $(wildcard man/*.[1-8])
INSTALLED_PROGRAMS := $(filter %/dynctl %/dynd,$(EXAMPLES))
man_path = $(MANDIR)/man$(patsubst .%,%,$(suffix $1))/$(notdir $1)
# A page is found under each name in its NAME section: NAME.3 -> PAGE.3.
MAN_LINKS := $(shell awk 'FNR == 1 { file = FILENAME; sub(/.*\//, "", file) } \
	/^\.Sh/ { names = $$2 == "NAME" } \
	names && $$1 == ".Nm" { link = $$2 ".3"; \
		if (file ~ /\.3$$/ && link != file) print link ":" file }' $(MAN))
INSTALLED = $(INCLUDEDIR)/dyn.h $(LIBDIR)/libdyn.a $(LIBDIR)/libdyn.so \
	$(LIBDIR)/libdyn.so.$(SOVERSION) $(LIBDIR)/libdyn.so.$(VERSION) \
	$(LIBDIR)/pkgconfig/libdyn.pc $(foreach m,$(MAN),$(call man_path,$m)) \
	$(addprefix $(BINDIR)/,$(notdir $(INSTALLED_PROGRAMS)))

.PHONY: install uninstall dist clean distclean help
install: all
	@mkdir -p $(addprefix $D,$(sort $(dir $(INSTALLED))))
	install -m 644 include/dyn.h $D$(INCLUDEDIR)/dyn.h
	install -m 644 $(LIB_A) $D$(LIBDIR)/libdyn.a
	install -m 755 $(LIB_SO) $D$(LIBDIR)/libdyn.so.$(VERSION)
	ln -sf libdyn.so.$(VERSION) $D$(LIBDIR)/libdyn.so.$(SOVERSION)
	ln -sf libdyn.so.$(SOVERSION) $D$(LIBDIR)/libdyn.so
	sed -e 's|@prefix@|$(PREFIX)|; s|@libdir@|$(LIBDIR)|; s|@includedir@|$(INCLUDEDIR)|' \
		-e 's|@version@|$(VERSION)|; s|@packages@|$(PACKAGES)|' \
		lib/libdyn.pc.in >$D$(LIBDIR)/pkgconfig/libdyn.pc
	$(foreach p,$(INSTALLED_PROGRAMS),install -m 755 $p $D$(BINDIR)/;)
	$(foreach m,$(MAN),install -m 644 $m $D$(call man_path,$m);)
	@$(foreach l,$(MAN_LINKS),ln -sf $(lastword $(subst :, ,$l)) \
		$D$(MANDIR)/man3/$(firstword $(subst :, ,$l));)

uninstall:
	rm -f $(addprefix $D,$(INSTALLED))
	@rm -f $(foreach l,$(MAN_LINKS),$D$(MANDIR)/man3/$(firstword $(subst :, ,$l)))

dist:
	rm -rf $(BUILD)/dist && mkdir -p $(BUILD)/dist
	git archive --prefix=libdyn-$(VERSION)/ HEAD | tar -x -C $(BUILD)/dist
	cd $(BUILD)/dist/libdyn-$(VERSION) && autoconf && rm -rf autom4te.cache
	tar -C $(BUILD)/dist -czf $(BUILD)/libdyn-$(VERSION).tar.gz libdyn-$(VERSION)
	@echo $(BUILD)/libdyn-$(VERSION).tar.gz

clean:
	rm -rf $(BUILD)

distclean: clean
	rm -rf config.mk config.log config.status configure autom4te.cache

help:
	@sed -n 's/^#= \{0,1\}//p' Makefile

#= Targets
#=   all        the library and the examples, in build/VARIANT/ (the default)
#=   deps       install what is missing; DEPS=ci also the tools of .ci/run
#=   demo       five peers on this machine, shown at work
#=   check      every test; its steps alone: header layers symbols snippets
#=              installed unit fuzz sim cluster figures
#=   sim        simulated rings: SEEDS=200 of them from seed FIRST=1, JOBS=2
#=   threaded   the tests with threads in them, for SANITIZE=thread
#=   bench      measure three peers, bench-engine: the storage alone,
#=              bench-handoff: hints to an owner that is back;
#=              bench-detect: how soon a silent or dead peer is known;
#=              bench-repair: a lost directory filled again, an idle ring;
#=              bench-outage: calls that fail while one of five is dead;
#=              bench-restart: until a process with GIB=1 of data serves;
#=              bench-grow: calls while five peers become eight and five again;
#=              bench-transfer: how fast rows move, beside SQLite alone; both
#=              with KEYS= keys, medians of RUNS=3;
#=              BENCH_ARGS= are passed on
#=   placement  how good tables are, what changes move, how long they take
#=   accuse     false accusations by the detector: HOURS=200 of a ring of five,
#=              LOSS=5 per cent of its packets lost
#=   split      writes on both sides of a simulated ring of five cut in two:
#=              SEEDS=50 times
#=   scale      what a simulated ring costs as it grows: NODES="10 30 100 300"
#=   churn      how large the clock of a key gets that 200 actors write:
#=              SEEDS=5 simulated rings
#=   figures    figures 5, 6 and 8, table 2 and section 6.3 of the paper, on this
#=              code: plots and figures.txt in build/VARIANT/figures; minutes, or
#=              with SIZE=small a test of the programs (in `make check`: that)
#=   chaos      real processes killed, stopped, cut off, wiped, joining, for
#=              SECONDS=180, drawn from SEED=1; wants root
#=   upgrade    a ring of an earlier commit (test/upgrade/PREVIOUS), whose processes
#=              are replaced one at a time, and back, under load
#=   mutants    which planted bugs (test/mutants/) the tests catch; MUTANTS=core
#=              only some
#=   tidy       the rules of style that a script can check
#=   analyze    cppcheck and clang-tidy
#=   format     clang-format over all sources
#=   cover      lines that the tests reach, by file
#=   install    and uninstall, under DESTDIR= PREFIX= LIBDIR= ...
#=   dist       a tar file of the last commit with configure in it
#=   clean      remove build/; distclean: also what ./configure made
#= Variables
#=   SANITIZE=address,undefined or SANITIZE=thread; CC=clang; COVER=1: each
#=              builds in its own folder
#=   WERROR=1   warnings are errors        V=1   show the commands
#=   CFLAGS= CPPFLAGS= LDFLAGS= BUILD=     as usual

endif
