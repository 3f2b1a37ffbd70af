// A team of threads that runs one function together.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

namespace densegrad {

// Where the members of a team wait for each other. Spins for some microseconds, then sleeps: a core that is busy
// with something else must not be waited for at full power.
class Barrier {
  public:
    void wait(int team_size);

  private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<int> phase_{0};
};

struct TeamMember {
    int thread; // 0 is the caller's own
    int size;
    Barrier *barrier;
    void wait() const {
        if (size > 1)
            barrier->wait(size);
    }
    // This member's share of 0 ... count - 1: begin and end.
    std::int64_t begin(std::int64_t count) const { return count * thread / size; }
    std::int64_t end(std::int64_t count) const { return count * (thread + 1) / size; }
};

void run_team(int n_threads, void (*function)(void *context, const TeamMember &member), void *context);

// Runs body(member) on up to n_threads threads. The body must not throw: it would leave the others waiting.
template <class Body> void run_team(int n_threads, Body &&body) {
    using Plain = std::remove_reference_t<Body>;
    run_team(
        n_threads,
        [](void *context, const TeamMember &member) { (*static_cast<Plain *>(context))(member); },
        const_cast<void *>(static_cast<const void *>(&body)));
}

} // namespace densegrad
