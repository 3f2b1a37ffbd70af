// A team of threads that works off the chunks of one phase after the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace densegrad {

// The caller runs the program; the others wait for a phase and help with it. Each member begins with chunks
// of its own, which keeps data in its cache from phase to phase, and then takes what others have not begun.
// So a member that the system has put to sleep holds up at most the chunk it is at; after such a wait the
// caller goes on alone for a while.
class Team {
  public:
    explicit Team(int size) : slots_(static_cast<std::size_t>(size)), size_(size) {}

    int size() const { return size_; }

    // Runs work(chunk, thread) for every chunk in 0 ... n_chunks - 1 and returns when all are done.
    // thread: 0 ... size() - 1, of a member that runs one chunk at a time. The work must not throw.
    template <class Work> void share(std::int64_t n_chunks, Work &&work) {
        if (size_ == 1 || n_chunks == 1 || better_alone()) {
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

    // share() for parts [begin, end) of 0 ... count - 1, a few for each member: work(begin, end, thread).
    template <class Work> void share_range(std::int64_t count, Work &&work) {
        constexpr std::int64_t kSmallestPart = 16;
        const std::int64_t most = count / kSmallestPart > 1 ? count / kSmallestPart : 1;
        const std::int64_t parts = size_ == 1 ? 1 : most < 2 * size_ ? most : 2 * size_;
        share(parts, [&](std::int64_t part, int thread) {
            work(count * part / parts, count * (part + 1) / parts, thread);
        });
    }

  private:
    friend void run_team(int n_threads, void (*body)(void *context, Team &team), void *context);

    using Function = void (*)(void *context, std::int64_t chunk, int thread);
    struct alignas(64) Slot {
        std::atomic<std::uint64_t> rest{
            0}; // number of the phase, and in the lower half the number of chunks that nobody has taken
    };

    static bool better_alone();
    void run_phase(std::int64_t n_chunks, Function function, void *context);
    void help(int thread);
    void close();
    std::int64_t first_chunk(std::size_t slot) const;
    bool take(std::size_t slot, std::uint32_t phase, std::int64_t &chunk);
    void work_off(int thread, std::uint32_t phase);

    std::vector<Slot> slots_; // one a member, with the range of chunks that it begins with
    int size_;                // set by the caller before the first phase, whose start the others wait for
    // Of the phase; read only by who holds one of its chunks, which keeps the phase from ending.
    Function function_ = nullptr;
    void *context_ = nullptr;
    std::int64_t n_chunks_ = 0;
    alignas(64) std::atomic<std::uint32_t> phase_{0}; // waited for by members without work
    alignas(64) std::atomic<std::int32_t> left_{0};   // chunks of the phase that are not done
    std::atomic<bool> closed_{false};
    std::atomic<std::int32_t> gone_{0}; // members that have seen it closed
};

// Multiplications that a member must have for a team to pay. In a phase of many: members meet in some
// microseconds. In the only phase of a call: they must be woken and waited for, which takes milliseconds
// where the other cores are busy with something else.
inline constexpr double kWorkOfPhase = 1.5e6;
inline constexpr double kWorkOfCall = 1.6e7;

// Threads for so many multiplications, at least `least` each: as many as pay, at most `most` (0: as many as
// the process may use).
int team_size_for(double multiplications, int most, double least);

void run_team(int n_threads, void (*body)(void *context, Team &team), void *context);

// Runs body(team) with a team of up to n_threads threads. What the body throws is thrown here.
template <class Body> void run_team(int n_threads, Body &&body) {
    using Plain = std::remove_reference_t<Body>;
    run_team(
        n_threads, [](void *context, Team &team) { (*static_cast<Plain *>(context))(team); },
        const_cast<void *>(static_cast<const void *>(&body)));
}

} // namespace densegrad
