# Writes sample-packages.txt: made-up package records in the form of
# /var/lib/dpkg/status, for systems that do not have that file.  The same
# bytes each time:  awk -f sample-packages.awk > sample-packages.txt

function below(n) {
	state = (state * 16807) % 2147483647
	return state % n
}

function pick(list, n) {
	return list[1 + below(n)]
}

function sentence(words,    text, i) {
	text = pick(noun, nouns)
	for (i = 1; i < words; i++)
		text = text " " (i % 3 == 1 ? pick(verb, verbs) : pick(noun, nouns))
	return text
}

BEGIN {
	state = 20071014
	firsts = split("amber birch cedar delta ember flint grove heron iris juniper " \
	    "kestrel larch maple nettle otter pine quartz raven sable thistle", first, " ")
	seconds = split("archive bridge cache driver editor filter gauge index journal " \
	    "kernel ledger mirror parser queue reader signal tracer viewer", second, " ")
	kinds = split("bin common data dev doc tools", kind, " ")
	nouns = split("files records messages numbers pictures sounds maps tables letters " \
	    "streams logs keys colours measurements addresses", noun, " ")
	verbs = split("reads sorts stores sends compares counts draws packs checks", verb, " ")
	sections = split("admin devel doc graphics libs mail math net sound text utils",
	    section, " ")
	number = 0
	for (i = 1; i <= firsts; i++)
		for (j = 1; j <= seconds; j++) {
			if (below(100) < 15)
				continue
			record(first[i] "-" second[j])
			if (below(100) < 60)
				record(first[i] "-" second[j] "-" pick(kind, kinds))
		}
}

function record(name,    lines, i) {
	number++
	print "Package: " name
	print "Status: install ok installed"
	print "Priority: " (below(10) == 0 ? "important" : "optional")
	print "Section: " pick(section, sections)
	print "Installed-Size: " 12 + below(9000)
	print "Maintainer: Sample Team <team" below(40) "@example.org>"
	print "Architecture: " (below(4) == 0 ? "all" : "amd64")
	print "Version: " below(12) "." below(30) "." below(10) "-" 1 + below(4)
	if (number > 3)
		print "Depends: " pick(first, firsts) "-" pick(second, seconds) " (>= " \
		    below(9) "." below(9) ")"
	print "Description: " sentence(4)
	lines = 1 + below(4)
	for (i = 0; i < lines; i++)
		print " " sentence(7) "."
	print ""
}
