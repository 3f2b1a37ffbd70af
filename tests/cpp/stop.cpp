// Stops calls of a wide network at each question whether to stop, one after the other. It exits with an error
// if a network is left half-way. A step is done whole or not at all, and a stopped pass leaves nothing to
// read. Prints how often it stopped a step and a pass before their ends.
//
//     test_stop [threads]
#include "densegrad/config.hpp"
#include "densegrad/network.hpp"
#include "densegrad/trainer.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

using namespace densegrad;

namespace {

constexpr std::int64_t kRows = 4096;
constexpr std::int64_t kWidth = 2600;
constexpr std::int64_t kOutputs = 16;

using Numbers = std::vector<float>;

struct Countdown {
    int left;
    static bool asked(void *context) { return --static_cast<Countdown *>(context)->left < 0; }
    StopRequest request() { return {asked, this}; }
};

RowsView view(const Numbers &numbers, std::int64_t rows) {
    const std::int64_t columns = static_cast<std::int64_t>(numbers.size()) / rows;
    return {numbers.data(), Scalar::float32, rows, columns, columns, 1};
}

Numbers pseudo_random(std::int64_t count, float scale) {
    Numbers numbers(static_cast<std::size_t>(count));
    std::uint32_t bits = 1;
    for (float &number : numbers) {
        bits = bits * 1664525u + 1013904223u;
        number = scale * (static_cast<float>(bits >> 8) / 8388608.0f - 1.0f);
    }
    return numbers;
}

struct Model {
    std::unique_ptr<Network> network;
    std::unique_ptr<Trainer> trainer;

    Model() {
        NetworkSpec spec;
        spec.n_inputs = kWidth;
        spec.layers = {{kWidth, Activation::relu}, {kOutputs, Activation::identity}};
        spec.loss.loss = Loss::squared_error;
        network = make_network(spec);
        network->set_weights(1, view(pseudo_random((kWidth + 1) * kWidth, 0.02f), kWidth + 1), 0);
        network->set_weights(2, view(pseudo_random((kWidth + 1) * kOutputs, 0.02f), kWidth + 1), 0);
        trainer = network->make_trainer(OptimizerSpec{Optimizer::adam}, {}, 0);
    }

    // Gives weights and the optimizer's numbers of both layers.
    Numbers state() const {
        Numbers all;
        for (int l = 1; l <= 2; ++l) {
            Numbers part(static_cast<std::size_t>((kWidth + 1) * network->width(l)));
            for (int s = -1; s < 2; ++s) {
                if (s < 0)
                    network->get(Quantity::weights, l, part.data());
                else
                    trainer->get_state(l, s, part.data());
                all.insert(all.end(), part.begin(), part.end());
            }
        }
        return all;
    }
};

bool same_bits(const Numbers &a, const Numbers &b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

int wrong = 0;
void expect(bool good, const char *what, int question) {
    if (!good)
        std::printf("wrong after question %d: %s\n", question, what);
    wrong += !good;
}

} // namespace

int main(int argc, char **argv) {
    set_exact_threads(true);
    const Numbers X = pseudo_random(kRows * kWidth, 1.0f);
    const Numbers target = pseudo_random(kRows * kOutputs, 1.0f);
    const double rate = 1e-3;
    EpochSpec epoch;
    epoch.rows = view(X, kRows);
    epoch.targets.values = target.data();
    epoch.targets.n_targets = kOutputs;
    epoch.n_order = epoch.batch_size = kRows;
    epoch.learning_rates = &rate;

    // So many threads take too little time for the gradient to be kept first.
    Model whole;
    epoch.n_threads = 8;
    whole.trainer->epoch(epoch);
    const Numbers after = whole.state();

    epoch.n_threads = argc > 1 ? std::atoi(argv[1]) : 1;
    int stopped_steps = 0;
    for (int question = 0;; ++question) {
        Model model;
        const Numbers before = model.state();
        Countdown countdown{question};
        epoch.stop = countdown.request();
        const EpochResult result = model.trainer->epoch(epoch);
        expect(same_bits(model.state(), result.n_steps == 0 ? before : after), "weights", question);
        expect(model.trainer->steps() == result.n_steps, "number of steps", question);
        if (!result.stopped)
            break;
        stopped_steps += result.n_steps == 0;
    }

    const auto fails = [](auto call) {
        try {
            call();
        } catch (const std::logic_error &) {
            return true;
        }
        return false;
    };
    Numbers out(X.size());
    int stopped_passes = 0;
    for (int question = 0;; ++question) {
        Countdown countdown{question};
        whole.network->backpropagate(view(X, kRows), epoch.targets, epoch.n_threads, {}, countdown.request());
        if (countdown.left >= 0)
            break;
        ++stopped_passes;
        expect(fails([&] { whole.network->get(Quantity::output, 1, out.data()); }), "an output", question);
        expect(fails([&] { whole.network->get(Quantity::weight_gradient, 2, out.data()); }), "a gradient",
               question);
        expect(fails([&] { whole.network->get(Quantity::loss_gradient, 0, out.data()); }), "a loss gradient",
               question);
    }
    for (int question = 0;; ++question) {
        Countdown countdown{question};
        whole.network->forward(view(X, kRows), out.data(), epoch.n_threads, countdown.request());
        if (countdown.left >= 0)
            break;
        expect(fails([&] { whole.network->backward(view(target, kRows), nullptr, 1); }), "a forward pass",
               question);
    }
    for (int question = 0;; ++question) {
        Countdown countdown{question};
        whole.network->backward(view(target, kRows), nullptr, epoch.n_threads, countdown.request());
        if (countdown.left >= 0)
            break;
        expect(fails([&] { whole.network->get(Quantity::weight_gradient, 1, out.data()); }), "a gradient",
               question);
    }
    std::printf("%d %d\n", stopped_steps, stopped_passes);
    return wrong == 0 ? 0 : 1;
}
