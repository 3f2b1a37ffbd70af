// Works off phases of changing numbers of chunks with teams. It exits with an error if a chunk was not run
// exactly once, or ran under a thread number that another member had. The phases are so short that members
// still look for work when the next one begins. Late members still look for it when the next call begins.
//
//     test_team [threads [phases]]
//
// With one phase there is no caller but the first.
#include "../../cpp/src/team.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

constexpr std::int64_t kMostChunks = 64;
constexpr std::array<std::int64_t, 5> kSizes = {2, 3, 8, 16, kMostChunks};

std::atomic<int> most_members{0};

// Runs `phases` phases in one call and returns how many chunks went wrong.
int wrong_chunks(int threads, int phases) {
    int wrong = 0;
    densegrad::run_team(threads, [&](densegrad::Team &team) {
        const int size = team.size();
        most_members.store(std::max(most_members.load(), size));
        std::array<std::atomic<int>, kMostChunks> runs{};
        std::vector<std::atomic<int>> busy(static_cast<std::size_t>(size));
        for (int phase = 0; phase < phases; ++phase) {
            const std::int64_t n_chunks = kSizes[static_cast<std::size_t>(phase) % kSizes.size()];
            std::atomic<int> doubled{0};
            team.share(n_chunks, [&](std::int64_t chunk, int thread) {
                std::atomic<int> &member = busy.at(static_cast<std::size_t>(thread));
                doubled += member.fetch_add(1, std::memory_order_relaxed) != 0;
                runs[static_cast<std::size_t>(chunk)].fetch_add(1, std::memory_order_relaxed);
                member.fetch_sub(1, std::memory_order_relaxed);
            });
            wrong += doubled.load();
            for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk)
                wrong += runs[static_cast<std::size_t>(chunk)].exchange(0, std::memory_order_relaxed) != 1;
        }
    });
    return wrong;
}

int wrong_calls(int threads, int calls) {
    int wrong = 0;
    for (int call = 0; call < calls; ++call)
        wrong += wrong_chunks(1 + call % threads, 1 + call % 3);
    return wrong;
}

} // namespace

int main(int argc, char **argv) {
    const int threads = argc > 1 ? std::atoi(argv[1]) : 4;
    const int phases = argc > 2 ? std::atoi(argv[2]) : 1000000;
    int wrong = wrong_chunks(threads, phases) + wrong_calls(threads, phases / 4);

    std::atomic<int> wrong_of_callers{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < (phases > 1 ? 3 : 0); ++caller)
        callers.emplace_back([&] { wrong_of_callers += wrong_calls(threads, phases / 8); });
    for (std::thread &caller : callers)
        caller.join();

    // The team passes on what the body throws, and can be had again.
    int thrown = 0;
    for (int i = 0; i < 100; ++i)
        try {
            densegrad::run_team(threads, [&](densegrad::Team &team) {
                team.share(8, [](std::int64_t, int) {});
                throw std::runtime_error("of the body");
            });
        } catch (const std::runtime_error &) {
            ++thrown;
        }
    wrong += wrong_of_callers + wrong_chunks(threads, 1000) + (thrown != 100);
    std::printf("%d members\n%d chunks not run exactly once\n", most_members.load(), wrong);
    return wrong == 0 ? 0 : 1;
}
