#include "parallel.hpp"

#include "densegrad/config.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>

#if defined(__linux__)
#include <sched.h>
#endif

#if defined(DENSEGRAD_HAVE_OPENMP)
#include <omp.h>
#endif

namespace densegrad {
namespace {

std::atomic<bool> forked{false};
std::atomic<bool> exact_threads{false};

std::int64_t nanoseconds() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// Until then callers go on without help, because a member was held up: its core is busy with something else.
std::atomic<std::int64_t> alone_until{0};
std::atomic<std::int64_t> alone_for{0};

// A caller has worked and then waited for the others. Even shares would have made it wait for less than it
// worked. It goes on alone for eight times as long as it has waited, and twice as long as the last time where
// the next try ends so again, up to a second. The bits are the same.
void note_wait(std::int64_t worked, std::int64_t waited) {
    constexpr std::int64_t kShort = 200'000;
    constexpr std::int64_t kLongest = 1'000'000'000;
    if (waited <= worked + kShort)
        return;
    const std::int64_t now = nanoseconds();
    const std::int64_t last = alone_for.load(std::memory_order_relaxed);
    const bool again = now - alone_until.load(std::memory_order_relaxed) < last;
    const std::int64_t span = std::min(kLongest, again ? 2 * last : 8 * waited);
    alone_for.store(span, std::memory_order_relaxed);
    alone_until.store(now + span, std::memory_order_relaxed);
}

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spins for some microseconds, then sleeps: a core that is busy with something else must not be waited for at
// full power.
template <class Number, class Busy> void wait_while(const std::atomic<Number> &value, Busy busy) {
    for (int spin = 0; spin < 2000; ++spin) {
        if (!busy(value.load(std::memory_order_acquire)))
            return;
        relax();
    }
    for (Number now = value.load(std::memory_order_acquire); busy(now);
         now = value.load(std::memory_order_acquire))
        value.wait(now, std::memory_order_acquire);
}

#if defined(DENSEGRAD_HAVE_OPENMP)

// CPUs that this process may run on. Where the OpenMP runtime binds its threads to CPUs, the caller's own set
// is one CPU.
int affinity() {
#if defined(__linux__)
    cpu_set_t set;
    if (omp_get_proc_bind() == omp_proc_bind_false && sched_getaffinity(0, sizeof(set), &set) == 0)
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

bool Team::better_alone() {
    const std::int64_t until = alone_until.load(std::memory_order_relaxed);
    return until != 0 && !exact_threads.load(std::memory_order_relaxed) && nanoseconds() < until;
}

std::int64_t Team::first_chunk(std::size_t slot) const {
    return n_chunks_ * static_cast<std::int64_t>(slot) / size_;
}

// Whether a chunk is left is read off the slot alone: a member that is late may stand here while the caller
// sets up the next phase, and must not match this phase's slot with that one's chunks.
bool Team::take(std::size_t slot, std::uint32_t phase, std::int64_t &chunk) {
    std::uint64_t rest = slots_[slot].rest.load(std::memory_order_relaxed);
    do {
        if (static_cast<std::uint32_t>(rest >> 32) != phase || static_cast<std::uint32_t>(rest) == 0)
            return false;
    } while (!slots_[slot].rest.compare_exchange_weak(rest, rest - 1, std::memory_order_acquire,
                                                      std::memory_order_relaxed));
    chunk = first_chunk(slot + 1) - static_cast<std::int64_t>(static_cast<std::uint32_t>(rest));
    return true;
}

void Team::work_off(int thread, std::uint32_t phase) {
    for (int i = 0; i < size_; ++i) {
        const std::size_t slot = static_cast<std::size_t>((thread + i) % size_);
        std::int64_t chunk = 0;
        while (take(slot, phase, chunk)) {
            function_(context_, chunk, thread);
            if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1)
                left_.notify_one();
        }
    }
}

void Team::run_phase(std::int64_t n_chunks, Function function, void *context) {
    const std::uint32_t phase = phase_.load(std::memory_order_relaxed) + 1;
    function_ = function;
    context_ = context;
    n_chunks_ = n_chunks;
    left_.store(static_cast<std::int32_t>(n_chunks), std::memory_order_relaxed);
    for (std::size_t slot = 0; slot < static_cast<std::size_t>(size_); ++slot) {
        const std::int64_t count = first_chunk(slot + 1) - first_chunk(slot);
        slots_[slot].rest.store(std::uint64_t{phase} << 32 | static_cast<std::uint64_t>(count),
                                std::memory_order_release);
    }
    const std::int64_t begin = nanoseconds();
    phase_.store(phase, std::memory_order_release);
    phase_.notify_all();
    work_off(0, phase);
    const std::int64_t done = nanoseconds();
    wait_while(left_, [](std::int32_t left) { return left > 0; });
    note_wait(done - begin, nanoseconds() - done);
}

void Team::help(int thread) {
    std::uint32_t seen = 0;
    while (true) {
        wait_while(phase_, [seen](std::uint32_t phase) { return phase == seen; });
        seen = phase_.load(std::memory_order_acquire);
        if (closed_.load(std::memory_order_acquire))
            break;
        work_off(thread, seen);
    }
    // The last touch of the team; the caller waits for it.
    gone_.fetch_add(1, std::memory_order_release);
    gone_.notify_one();
}

// Waits for the members to leave. The barrier of the OpenMP runtime, which comes next, would do so too, but
// spinning for milliseconds, and on the CPU that a member may need to get there.
void Team::close() {
    const std::int64_t begin = nanoseconds();
    closed_.store(true, std::memory_order_release);
    phase_.fetch_add(1, std::memory_order_release);
    phase_.notify_all();
    wait_while(gone_, [this](std::int32_t gone) { return gone < size_ - 1; });
    note_wait(0, nanoseconds() - begin);
}

#if defined(DENSEGRAD_HAVE_OPENMP)

void run_team(int n_threads, void (*body)(void *, Team &), void *context) {
    if (n_threads <= 1 || forked.load() || omp_in_parallel() || Team::better_alone()) {
        Team alone(1);
        body(context, alone);
        return;
    }
    Team team(n_threads);
    std::exception_ptr error;
#pragma omp parallel num_threads(n_threads)
    {
        if (omp_get_thread_num() == 0) {
            // The runtime may give fewer (OMP_THREAD_LIMIT, OMP_DYNAMIC).
            team.size_ = omp_get_num_threads();
            try {
                body(context, team);
            } catch (...) {
                error = std::current_exception();
            }
            team.close();
        } else {
            team.help(omp_get_thread_num());
        }
    }
    if (error)
        std::rethrow_exception(error);
}

bool has_openmp() { return true; }

int available_threads() {
    if (forked.load() || omp_in_parallel())
        return 1;
    static const int limit = cgroup_limit();
    const int cpus = limit > 0 ? std::min(limit, affinity()) : affinity();
    return std::max(1, std::min(cpus, omp_get_max_threads()));
}

#else

void run_team(int, void (*body)(void *, Team &), void *context) {
    Team alone(1);
    body(context, alone);
}

bool has_openmp() { return false; }

int available_threads() { return 1; }

#endif

int team_size_for(double multiplications, int most, double least) {
    if (most > 0 && exact_threads.load())
        return most;
    const double pays = multiplications / least;
    if (most == 1 || pays < 2.0)
        return 1;
    const int available = available_threads();
    return static_cast<int>(
        std::min(static_cast<double>(most > 0 ? std::min(most, available) : available), pays));
}

void set_exact_threads(bool exact) { exact_threads.store(exact); }

void after_fork_in_child() { forked.store(true); }

} // namespace densegrad
