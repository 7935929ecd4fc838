// What a sanitizer does in Keyfold's own program. Its daemons have no standard error:
// reports are files in a folder that all users may write, where tests/run looks for
// them. Leaks are looked for by the unit tests alone: the keys' process ends without
// taking down what it has, and no daemon lets itself be traced.

#define KEYFOLD_REPORTS \
  "halt_on_error=1:abort_on_error=1:log_path=/var/tmp/keyfold-sanitizer/report"

extern "C" {

const char* __asan_default_options() { return KEYFOLD_REPORTS ":detect_leaks=0"; }
const char* __ubsan_default_options() { return KEYFOLD_REPORTS ":print_stacktrace=1"; }
const char* __tsan_default_options() { return KEYFOLD_REPORTS; }

}  // extern "C"
