#include "cpus.hpp"

#include "densegrad/config.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#if defined(DENSEGRAD_HAVE_OPENMP)
#include <omp.h>
#endif

namespace densegrad {
namespace {

std::atomic<bool> one_cpu{false};

// Reads `count` numbers at a file's beginning, with one character between them, and returns how many there
// are.
int read_numbers(const char *path, std::int64_t *numbers, int count) {
    std::FILE *file = std::fopen(path, "r");
    if (!file)
        return 0;
    char text[64];
    const char *end = text + std::fread(text, 1, sizeof(text), file);
    std::fclose(file);
    int found = 0;
    for (const char *at = text; found < count; ++found) {
        const auto [rest, error] = std::from_chars(at, end, numbers[found]);
        if (error != std::errc{})
            break;
        at = std::min(rest + 1, end);
    }
    return found;
}

// Gives the CPUs' worth of time that the control group grants, rounded up; 0: no limit.
int cgroup_limit() {
    std::int64_t granted[2] = {}; // in each period, and the period; "max" reads as nothing
    if (read_numbers("/sys/fs/cgroup/cpu.max", granted, 2) != 2 &&
        (read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", &granted[0], 1) != 1 ||
         read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", &granted[1], 1) != 1))
        return 0;
    const auto [quota, period] = granted;
    return quota > 0 && period > 0 ? static_cast<int>((quota + period - 1) / period) : 0;
}

#if defined(DENSEGRAD_HAVE_OPENMP)

// The OpenMP run-time library starts no thread here. It knows what the user allows: OMP_NUM_THREADS and its
// relatives, omp_set_num_threads, threadpoolctl. Inside a parallel region of somebody else all CPUs are
// taken.
int user_limit() {
    if (omp_in_parallel() || omp_get_max_active_levels() == 0)
        return 1;
    return std::min(omp_get_max_threads(), omp_get_thread_limit());
}

// If the library binds threads to CPUs, the caller's own set is one CPU.
bool caller_is_bound() { return omp_get_proc_bind() != omp_proc_bind_false; }
int cpus_of_bound_caller() { return omp_get_num_procs(); }

#else

int user_limit() {
    int limit = 1 << 20;
    for (const char *name : {"OMP_NUM_THREADS", "OMP_THREAD_LIMIT"})
        if (const char *text = std::getenv(name))
            if (const long number = std::strtol(text, nullptr, 10); number > 0) // the first of a list
                limit = static_cast<int>(std::min<long>(limit, number));
    return limit;
}

bool caller_is_bound() { return false; }
int cpus_of_bound_caller() { return 1; }

#endif

int affinity() {
    if (caller_is_bound())
        return cpus_of_bound_caller();
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return CPU_COUNT(&set);
#endif
    return static_cast<int>(std::thread::hardware_concurrency());
}

} // namespace

int available_threads() {
    if (one_cpu.load())
        return 1;
    static const int quota = cgroup_limit();
    const int cpus = quota > 0 ? std::min(quota, affinity()) : affinity();
    return std::max(1, std::min(cpus, user_limit()));
}

void use_one_cpu() { one_cpu.store(true); }

#if defined(DENSEGRAD_HAVE_OPENMP)
bool has_openmp() { return true; }
#else
bool has_openmp() { return false; }
#endif

} // namespace densegrad
