#include "parallel.hpp"

#include "densegrad/config.hpp"

#include <algorithm>
#include <cstdio>

#if defined(__linux__)
#include <sched.h>
#endif

#if defined(DENSEGRAD_HAVE_OPENMP)
#include <omp.h>
#endif

namespace densegrad {
namespace {

std::atomic<bool> forked{false};

#if defined(DENSEGRAD_HAVE_OPENMP)

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// CPUs that this process may run on.
int affinity() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1, omp_get_num_procs());
}

// CPUs' worth of time that the control group grants, rounded up; 0: no limit.
int cgroup_limit() {
    long long quota = 0;
    long long period = 0;
    if (std::FILE *file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
        const int read = std::fscanf(file, "%lld %lld", &quota, &period); // "max" reads as nothing
        std::fclose(file);
        return read == 2 && period > 0 ? static_cast<int>((quota + period - 1) / period) : 0;
    }
    const auto number = [](const char *path, long long &out) {
        std::FILE *file = std::fopen(path, "r");
        const bool read = file && std::fscanf(file, "%lld", &out) == 1;
        if (file)
            std::fclose(file);
        return read;
    };
    if (number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota) &&
        number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period) && quota > 0 && period > 0)
        return static_cast<int>((quota + period - 1) / period);
    return 0;
}

#endif

} // namespace

#if defined(DENSEGRAD_HAVE_OPENMP)

void Barrier::wait(int team_size) {
    const int phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == team_size - 1) {
        arrived_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
        phase_.notify_all();
        return;
    }
    for (int spin = 0; spin < 2000; ++spin) {
        if (phase_.load(std::memory_order_acquire) != phase)
            return;
        relax();
    }
    phase_.wait(phase, std::memory_order_acquire);
}

void run_team(int n_threads, void (*function)(void *, const TeamMember &), void *context) {
    Barrier barrier;
    if (n_threads <= 1 || forked.load() || omp_in_parallel()) {
        function(context, TeamMember{0, 1, &barrier});
        return;
    }
#pragma omp parallel num_threads(n_threads)
    function(context, TeamMember{omp_get_thread_num(), omp_get_num_threads(), &barrier});
}

bool has_openmp() { return true; }

int available_threads() {
    if (forked.load() || omp_in_parallel())
        return 1;
    static const int machine = [] {
        const int limit = cgroup_limit();
        return limit > 0 ? std::min(limit, affinity()) : affinity();
    }();
    return std::max(1, std::min(machine, omp_get_max_threads()));
}

#else

void Barrier::wait(int) {}

void run_team(int, void (*function)(void *, const TeamMember &), void *context) {
    Barrier barrier;
    function(context, TeamMember{0, 1, &barrier});
}

bool has_openmp() { return false; }

int available_threads() { return 1; }

#endif

void after_fork_in_child() { forked.store(true); }

} // namespace densegrad
