// Lets every allocation of a call fail once, one after the other. It exits with an error if a call that
// failed changed something, or left something that cannot be used. Prints how many allocations each call
// needs.
//
//     test_out_of_memory
#include "densegrad/config.hpp"
#include "densegrad/lbfgs.hpp"
#include "densegrad/network.hpp"
#include "densegrad/trainer.hpp"
#include "made_up.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

using namespace densegrad;

namespace {

long left = -1; // allocations until one fails; below 0: none fails

void *allocate(std::size_t size, std::size_t alignment) {
    if (left >= 0 && left-- == 0)
        throw std::bad_alloc();
    const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
    if (void *memory = std::aligned_alloc(alignment, rounded > 0 ? rounded : alignment))
        return memory;
    throw std::bad_alloc();
}

} // namespace

void *operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void *operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void *memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

constexpr std::int64_t kRows = 40;
constexpr std::int64_t kColumns = 6;
constexpr std::int64_t kBatch = 8;
using Numbers = std::vector<double>;

Numbers made_up(std::int64_t count) {
    Random random;
    Numbers numbers(static_cast<std::size_t>(count));
    for (double &number : numbers)
        number = random.symmetric();
    return numbers;
}

const Numbers X = made_up(kRows * kColumns);
const Numbers target = made_up(kRows * 2);
const Numbers rates(kRows / kBatch, 1e-2);

NetworkSpec spec() {
    NetworkSpec made{kColumns, {}, {}, Scalar::float64};
    made.layers = {{9, Activation::gelu, 0.2}, {7, Activation::relu}, {2, Activation::identity}};
    made.loss.loss = Loss::squared_error;
    return made;
}

Targets targets() {
    Targets made;
    made.values = target.data();
    made.n_targets = 2;
    return made;
}

EpochSpec epoch() {
    EpochSpec made;
    made.rows = view(X, kRows, kColumns);
    made.targets = targets();
    made.n_order = kRows;
    made.batch_size = kBatch;
    made.learning_rates = rates.data();
    made.n_threads = 1;
    return made;
}

struct Model {
    std::unique_ptr<Network> network = make_network(spec());
    std::unique_ptr<Trainer> trainer;
    std::unique_ptr<Lbfgs> lbfgs;

    Model() {
        const Numbers weights = made_up(network->n_parameters());
        network->set_parameters(weights.data(), Scalar::float64, network->n_parameters());
        Regularisation regularisation;
        regularisation.l2 = 1e-3;
        regularisation.clip_norm = 1.0;
        trainer = network->make_trainer({Optimizer::adam}, regularisation, 0);
        lbfgs = network->make_lbfgs();
    }

    Numbers weights() const {
        Numbers all(static_cast<std::size_t>(network->n_parameters()));
        network->get_parameters(all.data());
        return all;
    }
};

int wrong = 0;

// `call` takes a Model; what it did is seen by the weights after one epoch more.
template <class Call> void check(const char *name, Call call) {
    Model sound;
    call(sound);
    sound.trainer->epoch(epoch());
    const Numbers wanted = sound.weights();
    for (long number = 0;; ++number) {
        Model model;
        const Numbers before = model.weights();
        const std::int64_t steps = model.trainer->steps();
        bool failed = false;
        left = number;
        try {
            call(model);
        } catch (const std::bad_alloc &) {
            failed = true;
        }
        left = -1;
        if (failed && (model.weights() != before || model.trainer->steps() != steps)) {
            std::printf("%s: changed, though allocation %ld failed\n", name, number);
            ++wrong;
        }
        if (failed)
            call(model);
        model.trainer->epoch(epoch());
        if (model.weights() != wanted) {
            std::printf("%s: other numbers after allocation %ld failed\n", name, number);
            ++wrong;
        }
        if (!failed) {
            std::printf("%s %ld\n", name, number);
            return;
        }
    }
}

// A minimisation that fails leaves the weights of an iteration that it has done, as one that is stopped does.
void check_minimise(int threads) {
    const auto minimise = [threads](Model &model, std::int64_t iterations) {
        LbfgsSpec spec;
        spec.rows = view(X, kRows, kColumns);
        spec.targets = targets();
        spec.max_iterations = iterations;
        spec.max_evaluations = 40;
        spec.n_threads = threads;
        model.lbfgs->minimise(spec);
    };
    constexpr std::int64_t kIterations = 4;
    std::vector<Numbers> allowed;
    for (std::int64_t iterations = 0; iterations <= kIterations; ++iterations) {
        Model model;
        if (iterations > 0)
            minimise(model, iterations);
        allowed.push_back(model.weights());
    }
    for (long number = 0;; ++number) {
        Model model;
        bool failed = false;
        left = number;
        try {
            minimise(model, kIterations);
        } catch (const std::bad_alloc &) {
            failed = true;
        }
        left = -1;
        const bool known = std::find(allowed.begin(), allowed.end(), model.weights()) != allowed.end();
        if (!known || (!failed && model.weights() != allowed.back())) {
            std::printf("minimise: weights of no iteration after allocation %ld failed\n", number);
            ++wrong;
        }
        if (!failed) {
            std::printf("minimise %ld\n", number);
            return;
        }
        minimise(model, kIterations);
    }
}

} // namespace

int main() {
    set_exact_threads(true);
    Numbers out(static_cast<std::size_t>(kRows * 9));
    const RowsView rows = view(X, kRows, kColumns);
    const RowsView gradient = view(target, kRows, 2);
    check("made", [](Model &) { const Model other; });
    for (const int threads : {1, 3}) {
        std::printf("%d threads:\n", threads);
        check("predict", [&](Model &model) { model.network->predict(rows, out.data(), threads); });
        check("evaluate", [&](Model &model) { model.network->evaluate(rows, targets(), threads); });
        check("forward and backward", [&](Model &model) {
            model.network->forward(rows, out.data(), threads);
            model.network->backward(gradient, nullptr, threads);
        });
        check("backpropagate", [&](Model &model) { model.network->backpropagate(rows, targets(), threads); });
        check("loss_and_gradient",
              [&](Model &model) { model.network->loss_and_gradient(rows, targets(), threads); });
        check("epoch", [&](Model &model) {
            EpochSpec spec = epoch();
            spec.n_threads = threads;
            model.trainer->epoch(spec);
        });
        check_minimise(threads);
    }
    return wrong == 0 ? 0 : 1;
}
