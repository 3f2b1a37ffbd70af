#include "team.hpp"

#include "cpus.hpp"
#include "densegrad/config.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

namespace densegrad {
namespace {

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
// worked. It goes on alone for eight times as long as it has waited. If the next try ends so again, it goes
// on alone for twice as long as the last time, up to a second. The bits are the same.
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

// Spins for `spins` looks, of some 40 ns each, then sleeps. A core that is busy with something else must not
// be waited for at full power.
template <class Number, class Busy> void wait_while(const std::atomic<Number> &value, int spins, Busy busy) {
    for (int spin = 0; spin < spins; ++spin) {
        if (!busy(value.load(std::memory_order_acquire)))
            return;
        relax();
    }
    for (Number now = value.load(std::memory_order_acquire); busy(now);
         now = value.load(std::memory_order_acquire))
        value.wait(now, std::memory_order_acquire);
}

// If a loop in Python makes the calls, a helper stays awake from one to the next: half a millisecond. To wake
// it can take longer than a short call lasts.
constexpr int kSpinsOfHelper = 12'000;
constexpr int kSpinsOfCaller = 2'000;

// No call uses these teams now. None is ever destroyed: its helpers may still look at it. Nor is the list: a
// thread of Python may be in a call while the process ends.
struct IdleTeams {
    std::mutex lock;
    Team *first = nullptr;
};

IdleTeams &idle_teams() {
    alignas(IdleTeams) static unsigned char memory[sizeof(IdleTeams)];
    static IdleTeams *const made = new (memory) IdleTeams;
    return *made;
}

} // namespace

Team::Team(int capacity) : slots_(static_cast<std::size_t>(capacity)) {}

bool Team::better_alone() {
    const std::int64_t until = alone_until.load(std::memory_order_relaxed);
    return until != 0 && !exact_threads.load(std::memory_order_relaxed) && nanoseconds() < until;
}

std::int64_t Team::first_chunk(std::size_t slot) const {
    return n_chunks_ * static_cast<std::int64_t>(slot) / size();
}

// The slot alone tells whether a chunk is left. A member that is late may stand here while the caller sets up
// the next phase. It must not match this phase's slot with that one's chunks.
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

void Team::work_off(int thread, int size, std::uint32_t phase) {
    for (int i = 0; i < size; ++i) {
        const std::size_t slot = static_cast<std::size_t>((thread + i) % size);
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
    for (std::size_t slot = 0; slot < static_cast<std::size_t>(size()); ++slot) {
        const std::int64_t count = first_chunk(slot + 1) - first_chunk(slot);
        slots_[slot].rest.store(std::uint64_t{phase} << 32 | static_cast<std::uint64_t>(count),
                                std::memory_order_release);
    }
    const std::int64_t begin = nanoseconds();
    phase_.store(phase, std::memory_order_release);
    phase_.notify_all();
    work_off(0, size(), phase);
    const std::int64_t done = nanoseconds();
    wait_while(left_, kSpinsOfCaller, [](std::int32_t left) { return left > 0; });
    note_wait(done - begin, nanoseconds() - done);
}

void Team::help(int thread, std::uint32_t seen) {
    while (true) {
        wait_while(phase_, kSpinsOfHelper, [seen](std::uint32_t phase) { return phase == seen; });
        seen = phase_.load(std::memory_order_acquire);
        // The size is of this phase, or of a later one. In a later one no slot has chunks of this phase any
        // more.
        const int size = this->size();
        if (thread < size)
            work_off(thread, size, seen);
    }
}

void Team::resize(int wanted) {
    while (n_helpers_ < wanted - 1) {
        try {
            std::thread([this, thread = n_helpers_ + 1, seen = phase_.load()] {
                help(thread, seen);
            }).detach();
        } catch (const std::exception &) {
            break; // the system has no thread to give, or no memory for one
        }
        ++n_helpers_;
    }
    size_.store(std::min(wanted, n_helpers_ + 1), std::memory_order_relaxed);
}

BorrowedTeam::BorrowedTeam(int n_threads) {
    if (n_threads <= 1 || Team::better_alone())
        return;
    {
        IdleTeams &idle = idle_teams();
        const std::lock_guard<std::mutex> guard(idle.lock);
        Team **link = &idle.first;
        while (*link && (*link)->slots_.size() < static_cast<std::size_t>(n_threads))
            link = &(*link)->next_idle_;
        team_ = *link;
        if (team_)
            *link = team_->next_idle_;
    }
    if (!team_)
        team_ = new Team(n_threads);
    team_->resize(n_threads);
}

BorrowedTeam::~BorrowedTeam() {
    if (!team_)
        return;
    IdleTeams &idle = idle_teams();
    const std::lock_guard<std::mutex> guard(idle.lock);
    team_->next_idle_ = idle.first;
    idle.first = team_;
}

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

void after_fork_in_child() {
    // The helpers did not come along, and another thread may have held the lock.
    new (&idle_teams()) IdleTeams;
    use_one_cpu();
}

} // namespace densegrad
