// Trains small networks on made-up data. Prints one hash of all their weights and predictions for each type.
//
//     test_bits [instruction set [threads]]
//
// The output is the same whatever the arguments, the compiler and the processor.
#include "densegrad/config.hpp"
#include "densegrad/network.hpp"
#include "densegrad/trainer.hpp"

#include "made_up.hpp"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

namespace {

using namespace densegrad;

struct Case {
    Activation activation;
    Loss loss;
    Activation head;
    Optimizer optimizer;
    std::int64_t n_rows, batch_size;
};

template <class T> void run(const Case &c, int n_threads, Hash &hash) {
    const std::int64_t n_inputs = 7, n_outputs = 3;
    NetworkSpec spec;
    spec.n_inputs = n_inputs;
    spec.layers = {{19, c.activation, 0.25}, {33, c.activation, 0.0}, {n_outputs, c.head, 0.0}};
    spec.loss.loss = c.loss;
    spec.scalar = kScalar<T>;
    const auto network = make_network(spec);

    Random random;
    std::vector<T> w;
    for (int l = 1; l <= network->depth(); ++l) {
        const std::int64_t n_rows = network->width(l - 1) + 1, n_columns = network->width(l);
        w.resize(static_cast<std::size_t>(n_rows * n_columns));
        for (T &number : w)
            number = static_cast<T>(random.symmetric() / 2);
        network->set_weights(l, view(w, n_rows, n_columns));
    }
    std::vector<T> x(static_cast<std::size_t>(c.n_rows * n_inputs));
    for (T &number : x)
        number = static_cast<T>(2 * random.symmetric());
    std::vector<T> values(static_cast<std::size_t>(c.n_rows * n_outputs));
    for (T &number : values)
        number = static_cast<T>(1 + random.symmetric());
    std::vector<std::int64_t> classes(static_cast<std::size_t>(c.n_rows));
    for (std::int64_t &k : classes)
        k = static_cast<std::int64_t>(random.next() % static_cast<std::uint64_t>(n_outputs));
    std::vector<double> sample_weight(static_cast<std::size_t>(c.n_rows));
    for (double &weight : sample_weight)
        weight = 1 + random.symmetric();

    OptimizerSpec optimizer;
    optimizer.optimizer = c.optimizer;
    optimizer.momentum = 0.5;
    optimizer.nesterov = true;
    Regularisation regularisation;
    regularisation.l2 = 1e-2;
    regularisation.l1 = 1e-3;
    regularisation.weight_decay = 1e-2;
    const auto trainer = network->make_trainer(optimizer, regularisation, 3);

    EpochSpec epoch;
    epoch.rows = view(x, c.n_rows, n_inputs);
    if (c.head == Activation::softmax) {
        epoch.targets.classes = classes.data();
    } else {
        epoch.targets.values = values.data();
        epoch.targets.n_targets = n_outputs;
    }
    epoch.targets.sample_weight = sample_weight.data();
    epoch.n_order = c.n_rows;
    epoch.batch_size = c.batch_size;
    const std::vector<double> learning_rates(static_cast<std::size_t>((c.n_rows - 1) / c.batch_size + 1),
                                             1e-2);
    epoch.learning_rates = learning_rates.data();
    epoch.n_threads = n_threads;
    std::vector<double> losses;
    for (int i = 0; i < 3; ++i)
        losses.push_back(trainer->epoch(epoch).loss());
    hash.add(losses);

    for (int l = 1; l <= network->depth(); ++l) {
        w.resize(static_cast<std::size_t>((network->width(l - 1) + 1) * network->width(l)));
        network->get(Quantity::weights, l, w.data());
        hash.add(w);
    }
    std::vector<T> output(static_cast<std::size_t>(c.n_rows * n_outputs));
    network->predict(epoch.rows, output.data(), n_threads);
    hash.add(output);
}

template <class T> std::uint64_t run_all(int n_threads) {
    Hash hash;
    int number = 0;
    for (const ActivationRow &row : kActivations) {
        if (row.head_only || row.id == Activation::custom)
            continue;
        const Optimizer optimizer = kOptimizers[number++ % kOptimizerCount].id;
        run<T>({row.id, Loss::squared_error, Activation::identity, optimizer, 37, 16}, n_threads, hash);
        run<T>({row.id, Loss::log_loss, Activation::softmax, optimizer, 37, 37}, n_threads, hash);
    }
    run<T>({Activation::tanh, Loss::poisson, Activation::exp, Optimizer::adam, 40, 8}, n_threads, hash);
    // These are more rows than a slice of the weight gradient's sum.
    run<T>({Activation::relu, Loss::log_loss, Activation::softmax, Optimizer::adam, 700, 600}, n_threads,
           hash);
    return hash.value();
}

} // namespace

int main(int argc, char **argv) try {
    set_instruction_set(argc > 1 ? argv[1] : "");
    set_exact_threads(true);
    const int n_threads = argc > 2 ? std::atoi(argv[2]) : 1;
    std::printf("float32 %016" PRIx64 "\n", run_all<float>(n_threads));
    std::printf("float64 %016" PRIx64 "\n", run_all<double>(n_threads));
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
