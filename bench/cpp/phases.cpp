// Shows where the time of a training step goes. It calls the phases of one step kernel by kernel on one
// thread. It gives each phase's share of the step and of the core's FMA peak. The CMake option
// DENSEGRAD_BENCH builds it.
//
//     phases rows batch n_0 n_1 ... n_L
#include "densegrad/config.hpp"

#include "../../cpp/src/dispatch.hpp"
#include "../../cpp/src/passes.hpp"
#include "../../cpp/src/updates.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace densegrad;
using T = float;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Phase {
    std::string name;
    double multiplications; // of one step; 0: not counted
    std::vector<double> seconds;
    Phase(std::string name_, double count) : name(std::move(name_)), multiplications(count) {}
    double median() {
        std::sort(seconds.begin(), seconds.end());
        return seconds[seconds.size() / 2];
    }
};

template <class Body> void timed(Phase &phase, Body body) {
    const double begin = now();
    body();
    phase.seconds.push_back(now() - begin);
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 5) {
        std::fprintf(stderr, "usage: phases rows batch n_0 n_1 ... n_L\n");
        return 2;
    }
    const Index n_rows = std::atoll(argv[1]);
    const Index batch_size = std::min<Index>(std::atoll(argv[2]), kPieceRows);
    std::vector<Layer<T>> layers;
    for (int i = 4; i < argc; ++i)
        layers.push_back(Layer<T>{std::atoll(argv[i - 1]), std::atoll(argv[i]),
                                  i + 1 == argc ? Activation::softmax : Activation::relu, 0.0});
    const Index n_in = layers.front().n_in;
    const Index n_out = layers.back().n_out;

    Arena arena;
    std::vector<T *> state_0(layers.size()), state_1(layers.size());
    const auto carve = [&](auto visit) {
        for (std::size_t i = 0; i < layers.size(); ++i) {
            visit(layers[i].weights, layers[i].weight_count());
            visit(layers[i].transposed, layers[i].transposed_count());
            visit(state_0[i], layers[i].weight_count());
            visit(state_1[i], layers[i].weight_count());
        }
    };
    carve([&](T *&, Index count) { arena.plan<T>(count); });
    arena.allocate();
    carve([&](T *&buffer, Index count) { buffer = arena.take<T>(count); });

    std::mt19937 random(0);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    const Kernels<T> &k = kernels<T>();
    for (Layer<T> &layer : layers) {
        const float bound = std::sqrt(6.0f / static_cast<float>(layer.n_in));
        for (Index i = 0; i < layer.weight_count(); ++i)
            layer.weights[i] = bound * uniform(random);
    }
    std::vector<float> X(static_cast<std::size_t>(n_rows * n_in));
    for (float &x : X)
        x = uniform(random);
    std::vector<Index> classes(static_cast<std::size_t>(n_rows)), order(static_cast<std::size_t>(n_rows));
    for (Index r = 0; r < n_rows; ++r) {
        classes[static_cast<std::size_t>(r)] = r % n_out;
        order[static_cast<std::size_t>(r)] = r;
    }
    std::shuffle(order.begin(), order.end(), random);

    const Pass<T> pass(layers, batch_size, 1, PassOptions{});
    const RowsView rows{X.data(), Scalar::float32, n_rows, n_in, n_in, 1};
    const LossArgs<T> loss{Loss::log_loss, {Activation::softmax}, n_out, n_out, 0, 0, nullptr};
    LayerStep<T> layer_step{};
    OptimizerStep<T> &step = layer_step.weights;
    step.optimizer = Optimizer::adam;
    step.learning_rate = 1e-4f;
    step.beta_1 = Decay<T>::of(0.9);
    step.beta_2 = Decay<T>::of(0.999);
    step.epsilon = 1e-8f;
    layer_step.bias = step;

    double products = 0.0, input_gradients = 0.0;
    for (const Layer<T> &layer : layers) {
        const double count = static_cast<double>(layer.n_in) * static_cast<double>(layer.n_out * batch_size);
        products += count;
        if (&layer != &layers.front())
            input_gradients += count;
    }
    std::vector<Phase> phases = {{"gather", 0.0},
                                 {"forward", products},
                                 {"head and loss", 0.0},
                                 {"backward", input_gradients},
                                 {"weight gradient", products},
                                 {"  + update", products},
                                 {"  + transpose", products}};
    for (int repeat = 0; repeat < 60; ++repeat)
        for (Index first = 0; first + batch_size <= std::min(n_rows, 8 * batch_size); first += batch_size) {
            const Batch<T> batch{.rows = &rows,
                                 .targets = {.classes = classes.data()},
                                 .order = order.data() + first,
                                 .first_row = first,
                                 .weight_scale = 1.0 / static_cast<double>(batch_size)};
            StopWatch watch{StopRequest{}};
            timed(phases[0], [&] { k.gather(batch.gather(pass.output[0], pass.stride), 0, batch_size); });
            timed(phases[1], [&] {
                for (std::size_t l = 1; l <= layers.size(); ++l) {
                    ForwardArgs<T> args = forward_args(layers, pass, batch, l);
                    if (l == layers.size())
                        args.activation = Activation::identity;
                    k.forward(args, 0, batch_size);
                }
            });
            timed(phases[2], [&] { k.loss_layer(loss_layer_args(loss, pass, batch, 0), 0, batch_size); });
            timed(phases[3], [&] { backward_rows(layers, pass, false, k, watch, 0, batch_size); });
            for (int stage = 0; stage < 3; ++stage)
                timed(phases[static_cast<std::size_t>(4 + stage)], [&] {
                    for (std::size_t l = 1; l <= layers.size(); ++l) {
                        WeightArgs<T> args = sum(layers[l - 1], pass, l, batch_size);
                        args.step = stage > 0 ? &layer_step : nullptr;
                        args.state[0] = state_0[l - 1];
                        args.state[1] = state_1[l - 1];
                        args.transposed = stage > 1 && l > 1 ? layers[l - 1].transposed : nullptr;
                        k.update_weights(args, 0, layers[l - 1].blocks());
                    }
                });
        }
    double total = 0.0;
    for (std::size_t i = 0; i < phases.size(); ++i)
        if (i != 4 && i != 5)
            total += phases[i].median();
    std::printf("%s, batch %lld: %.1f us a step, %.1f GFLOP/s\n", instruction_set().c_str(),
                static_cast<long long>(batch_size), total * 1e6,
                2e-9 * (2.0 * products + input_gradients) / total);
    for (Phase &phase : phases)
        std::printf("  %-16s %8.1f us %5.1f %%  %6.1f GFLOP/s\n", phase.name.c_str(), phase.median() * 1e6,
                    100.0 * phase.median() / total, 2e-9 * phase.multiplications / phase.median());
    return 0;
}
