// The most fused multiply-adds that the cores can do: a loop that touches nothing but registers.
// Usage: fma_peak float32|float64 THREADS SECONDS; prints GFLOP/s over all threads.
// VECTOR_BYTES and ACCUMULATORS come from the build command: as many chains as hide the latency and fit the
// registers.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

template <class T> double gflops_of_one_thread(double seconds, std::atomic<int> &waiting) {
    using Vector [[gnu::vector_size(VECTOR_BYTES)]] = T;
    constexpr long kRounds = 20000;
    Vector sum[ACCUMULATORS];
    for (int i = 0; i < ACCUMULATORS; ++i)
        sum[i] = Vector{} + T(i);
    Vector factor = Vector{} + T(0.999), term = Vector{} + T(0.001);
    waiting.fetch_sub(1);
    while (waiting.load() > 0) {
    }
    long rounds = 0;
    const auto start = Clock::now();
    double elapsed = 0;
    while (elapsed < seconds) {
        for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 32
            for (int i = 0; i < ACCUMULATORS; ++i)
                sum[i] = sum[i] * factor + term;
        }
        rounds += kRounds;
        elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    }
    Vector total{};
    for (int i = 0; i < ACCUMULATORS; ++i)
        total += sum[i];
    // Using the sums keeps the compiler from dropping the loop.
    if (total[0] == T(-1))
        std::puts("");
    const double flops = 2.0 * rounds * ACCUMULATORS * (VECTOR_BYTES / sizeof(T));
    return flops / elapsed * 1e-9;
}

template <class T> double gflops(int threads, double seconds) {
    std::atomic<int> waiting{threads};
    std::vector<double> result(threads);
    std::vector<std::thread> team;
    for (int t = 0; t < threads; ++t)
        team.emplace_back([&, t] { result[t] = gflops_of_one_thread<T>(seconds, waiting); });
    double total = 0;
    for (int t = 0; t < threads; ++t) {
        team[t].join();
        total += result[t];
    }
    return total;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    const int threads = std::atoi(argv[2]);
    const double seconds = std::atof(argv[3]);
    const bool wide = std::strcmp(argv[1], "float64") == 0;
    std::printf("%.3f\n", wide ? gflops<double>(threads, seconds) : gflops<float>(threads, seconds));
}
