/*
 * Goal: dyn.h needs nothing before it, may come twice, and its initialisers
 * are constants of the language it is compiled in.
 * Method: compiled, not run, as C99 and C11.
 */
#include <dyn.h>
#include <dyn.h>

struct dyn_options options_of_header_test = DYN_OPTIONS_INIT;
struct dyn_bucket_options bucket_options_of_header_test = DYN_BUCKET_OPTIONS_INIT;
struct dyn_status status_of_header_test = DYN_STATUS_INIT;
struct dyn_stats stats_of_header_test = DYN_STATS_INIT;
