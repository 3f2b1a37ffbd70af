// Works off phases of changing numbers of chunks with a team and exits with an error where a chunk was not
// run exactly once. The phases are so short that members are still looking for work when the next one begins.
//
//     test_team [threads [phases]]
#include "../../cpp/src/parallel.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

int main(int argc, char **argv) {
    const int threads = argc > 1 ? std::atoi(argv[1]) : 4;
    const int phases = argc > 2 ? std::atoi(argv[2]) : 1500000;
    constexpr std::int64_t kMostChunks = 64;
    const std::array<std::int64_t, 5> sizes = {2, 3, 8, 16, kMostChunks};
    int wrong = 0;
    densegrad::run_team(threads, [&](densegrad::Team &team) {
        std::array<std::atomic<int>, kMostChunks> runs{};
        for (int phase = 0; phase < phases; ++phase) {
            const std::int64_t n_chunks = sizes[static_cast<std::size_t>(phase) % sizes.size()];
            team.share(n_chunks, [&](std::int64_t chunk, int) {
                runs[static_cast<std::size_t>(chunk)].fetch_add(1, std::memory_order_relaxed);
            });
            for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk)
                wrong += runs[static_cast<std::size_t>(chunk)].exchange(0, std::memory_order_relaxed) != 1;
        }
    });
    std::printf("%d chunks of %d phases not run exactly once\n", wrong, phases);
    return wrong == 0 ? 0 : 1;
}
