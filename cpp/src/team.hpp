// A team of threads works off the chunks of one phase after the other.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace densegrad {

// The caller runs the program; helpers wait for a phase and join in. Each member begins with chunks of its
// own, which keeps data in its cache from phase to phase. Then it takes what others have not begun. So nobody
// waits for a helper that is late or missing. A helper that the system puts to sleep holds up at most the
// chunk it is at. After such a wait the caller goes on alone for a while.
//
// Helpers are threads of our own. They are kept for the next call and sleep until then.
class Team {
  public:
    // The team is the caller alone, until it is resized to no more than `capacity` members.
    explicit Team(int capacity);

    int size() const { return size_.load(std::memory_order_relaxed); }

    // Runs work(chunk, thread) for every chunk in 0 ... n_chunks - 1, less than 2^31, and returns when all
    // are done.
    // thread: 0 ... size() - 1, of a member that runs one chunk at a time. The work must not throw.
    template <class Work> void share(std::int64_t n_chunks, Work &&work) {
        if (size() == 1 || n_chunks == 1 || better_alone()) {
            for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk)
                work(chunk, 0);
            return;
        }
        using Plain = std::remove_reference_t<Work>;
        run_phase(
            n_chunks,
            [](void *context, std::int64_t chunk, int thread) {
                (*static_cast<Plain *>(context))(chunk, thread);
            },
            const_cast<void *>(static_cast<const void *>(&work)));
    }

    // Shares parts [begin, end) of 0 ... count - 1, a few for each member: work(begin, end, thread).
    template <class Work> void share_range(std::int64_t count, Work &&work) {
        constexpr std::int64_t kSmallestPart = 16;
        const std::int64_t most = count / kSmallestPart > 1 ? count / kSmallestPart : 1;
        const std::int64_t parts = size() == 1 ? 1 : std::min(most, 2 * std::int64_t{size()});
        share(parts, [&](std::int64_t part, int thread) {
            work(count * part / parts, count * (part + 1) / parts, thread);
        });
    }

  private:
    friend class BorrowedTeam;

    using Function = void (*)(void *context, std::int64_t chunk, int thread);
    struct alignas(64) Slot {
        // Number of the phase, and in the lower half the number of chunks that nobody has taken.
        std::atomic<std::uint64_t> rest{0};
    };

    static bool better_alone();
    // Called between two calls. It makes `wanted` members for the next one, or as many as the system has
    // threads for.
    void resize(int wanted);
    void run_phase(std::int64_t n_chunks, Function function, void *context);
    [[noreturn]] void help(int thread, std::uint32_t seen);
    std::int64_t first_chunk(std::size_t slot) const;
    bool take(std::size_t slot, std::uint32_t phase, std::int64_t &chunk);
    void work_off(int thread, int size, std::uint32_t phase);

    std::vector<Slot> slots_; // one a member, with the range of chunks that it begins with
    int n_helpers_ = 0;       // that were started; those from size() on sit out
    // These belong to the phase. Only who holds one of its chunks reads them, which keeps the phase from
    // ending.
    Function function_ = nullptr;
    void *context_ = nullptr;
    std::int64_t n_chunks_ = 0;
    alignas(64) std::atomic<std::uint32_t> phase_{0}; // members without work wait for it
    std::atomic<int> size_{1};
    alignas(64) std::atomic<std::int32_t> left_{0}; // chunks of the phase that are not done
    Team *next_idle_ = nullptr;
};

// A member must have so many multiplications for a team to pay. In a phase of many, members meet in some
// microseconds. In the only phase of a call, they must be woken and waited for. That takes milliseconds if
// the other cores are busy with something else.
inline constexpr double kWorkOfPhase = 1.5e6;
inline constexpr double kWorkOfCall = 1.6e7;

// Gives the number of threads for so many multiplications, at least `least` each. It gives as many as pay, at
// most `most` (0: as many as the process may use).
int team_size_for(double multiplications, int most, double least);

// Takes a team for one call: one that no other call has, or a new one.
class BorrowedTeam {
  public:
    explicit BorrowedTeam(int n_threads);
    ~BorrowedTeam();
    BorrowedTeam(const BorrowedTeam &) = delete;
    BorrowedTeam &operator=(const BorrowedTeam &) = delete;

    Team &operator*() { return team_ ? *team_ : alone_; }

  private:
    Team alone_{0};
    Team *team_ = nullptr;
};

// Runs body(team) with a team of up to n_threads threads.
template <class Body> void run_team(int n_threads, Body &&body) {
    BorrowedTeam team(n_threads);
    body(*team);
}

} // namespace densegrad
