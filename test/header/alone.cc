/* The same as alone.c in C++: names, linkage and initialisers. */
#include <dyn.h>
#include <dyn.h>

struct dyn_options options_of_header_test = DYN_OPTIONS_INIT;
struct dyn_bucket_options bucket_options_of_header_test = DYN_BUCKET_OPTIONS_INIT;
struct dyn_status status_of_header_test = DYN_STATUS_INIT;
struct dyn_stats stats_of_header_test = DYN_STATS_INIT;

const char *
version_of_header_test()
{
	return dyn_version();
}
