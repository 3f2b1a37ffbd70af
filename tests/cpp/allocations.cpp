// Counts the allocations of epochs of 10 and of 100 steps, and prints them. After the first epoch a step
// allocates nothing, so both counts are the same.
#include "densegrad/config.hpp"
#include "densegrad/network.hpp"
#include "densegrad/trainer.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <vector>

// These are glibc's own entry points, beside those that are counted here.
extern "C" {
void *__libc_malloc(std::size_t size);
void *__libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {
std::atomic<long> count{0};
}

extern "C" {
void *malloc(std::size_t size) {
    ++count;
    return __libc_malloc(size);
}
void *aligned_alloc(std::size_t alignment, std::size_t size) {
    ++count;
    return __libc_memalign(alignment, size);
}
}

using namespace densegrad;

int main(int argc, char **argv) {
    set_exact_threads(true);
    constexpr std::int64_t kRows = 3200;
    constexpr std::int64_t kColumns = 20;
    NetworkSpec spec;
    spec.n_inputs = kColumns;
    spec.layers = {{64, Activation::relu, 0.2}, {64, Activation::gelu}, {3, Activation::softmax}};
    spec.loss.loss = Loss::log_loss;
    const auto network = make_network(spec);
    Regularisation regularisation;
    regularisation.l2 = 1e-4;
    regularisation.clip_norm = 1.0;
    regularisation.max_norm = 2.0;
    const auto trainer = network->make_trainer({Optimizer::adam}, regularisation, 0);

    const std::vector<float> X(kRows * kColumns, 0.5f);
    const std::vector<std::int64_t> classes(kRows, 1);
    const std::vector<double> rates(100, 1e-3);
    EpochSpec epoch;
    epoch.rows = {X.data(), Scalar::float32, kRows, kColumns, kColumns, 1};
    epoch.targets.classes = classes.data();
    epoch.batch_size = 32;
    epoch.learning_rates = rates.data();
    epoch.n_threads = argc > 1 ? std::atoi(argv[1]) : 1;
    for (const std::int64_t rows : {kRows, kRows / 10, kRows}) {
        epoch.n_order = rows;
        const long before = count;
        const std::int64_t steps = trainer->epoch(epoch).n_steps;
        std::printf("%lld steps %ld allocations\n", static_cast<long long>(steps), count - before);
    }
    return 0;
}
