// Trains a small network with every solver, hidden activation, loss with each of its heads, with and without
// dropout, in both precisions. Prints a line for each of these names: the hash of all weights that were
// trained with it.
//
//     test_golden [instruction set [threads]]
//
// The output is the same whatever the arguments, the compiler and the processor; tests/golden/core.txt has
// it.
#include "densegrad/config.hpp"
#include "densegrad/lbfgs.hpp"
#include "densegrad/network.hpp"
#include "densegrad/trainer.hpp"

#include "made_up.hpp"

#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace densegrad;

constexpr std::int64_t kRows = 21, kInputs = 5, kHidden = 19, kOutputs = 4;

struct Solver {
    std::string name;
    OptimizerSpec optimizer; // of gradient descent
    bool lbfgs = false;
};

std::vector<Solver> all_solvers() {
    std::vector<Solver> solvers;
    for (const OptimizerRow &row : kOptimizers)
        solvers.push_back({row.name, {row.id}});
    solvers.push_back({"SGD+momentum", {Optimizer::sgd, 0.9}});
    solvers.push_back({"SGD+nesterov", {Optimizer::sgd, 0.9, true}});
    solvers.push_back({"RMSprop+momentum", {Optimizer::rmsprop, 0.5}});
    solvers.push_back({"L-BFGS", {}, true});
    return solvers;
}

struct Pairing {
    std::string name;
    LossSpec loss;
    Activation head;
};

Pairing paired(const std::string &name, Loss loss, Activation head, double parameter,
               std::vector<double> levels = {}, double label_smoothing = 0.0) {
    return {name + "-" + kActivations[static_cast<int>(head)].name,
            {loss, parameter, std::move(levels), label_smoothing},
            head};
}

std::vector<Pairing> all_pairings() {
    std::vector<Pairing> pairings;
    for (const LossRow &row : kLosses)
        for (const ActivationRow &head : kActivations)
            // What is custom is computed by the user.
            if (head_fits(row.heads, head.id) && row.id != Loss::custom && head.id != Activation::custom)
                pairings.push_back(paired(row.name, row.id, head.id, row.parameter_default));
    for (const Activation head : {Activation::logistic, Activation::softmax})
        pairings.push_back(paired("log_loss+label_smoothing", Loss::log_loss, head, 0.0, {}, 0.1));
    pairings.push_back(paired("quantile+levels", Loss::quantile, Activation::identity, 0.5, {0.25, 0.75}));
    return pairings;
}

template <class T> struct Data {
    std::vector<T> x, values, labels; // labels are 0 or 1
    std::vector<std::int64_t> classes;
    std::vector<double> sample_weight;

    Data()
        : x(kRows * kInputs), values(kRows * kOutputs), labels(kRows * kOutputs), classes(kRows),
          sample_weight(kRows) {
        Random random;
        for (T &number : x)
            number = static_cast<T>(2 * random.symmetric());
        for (T &number : values)
            number = static_cast<T>(1.25 + random.symmetric());
        for (T &number : labels)
            number = random.symmetric() < 0 ? T(0) : T(1);
        for (std::int64_t &k : classes)
            k = static_cast<std::int64_t>(random.next() % static_cast<std::uint64_t>(kOutputs));
        for (double &weight : sample_weight)
            weight = 1.5 + random.symmetric();
    }

    Targets targets(const Pairing &pairing, std::int64_t n_targets) const {
        Targets targets;
        if (pairing.head == Activation::softmax) {
            targets.classes = classes.data();
        } else {
            const bool numbers = kLosses[static_cast<int>(pairing.loss.loss)].target == TargetKind::values;
            targets.values = (numbers ? values : labels).data();
            targets.n_targets = n_targets;
        }
        targets.sample_weight = sample_weight.data();
        return targets;
    }
};

// Returns all weights after a short training, and the losses before them.
template <class T>
std::vector<double> train(const Data<T> &data, const Solver &solver, Activation hidden,
                          const Pairing &pairing, double dropout, int n_threads) {
    const auto network = make_network(
        {kInputs, {{kHidden, hidden, dropout}, {kOutputs, pairing.head}}, pairing.loss, kScalar<T>});
    const auto n_parameters = static_cast<std::size_t>(network->n_parameters());
    std::vector<T> w(n_parameters);
    Random random;
    for (T &number : w)
        number = static_cast<T>(random.symmetric() / 4);
    network->set_parameters(w.data(), kScalar<T>, network->n_parameters());

    std::vector<double> results;
    const Targets targets = data.targets(pairing, network->n_targets());
    if (solver.lbfgs) {
        LbfgsSpec spec;
        spec.rows = view(data.x, kRows, kInputs);
        spec.targets = targets;
        spec.l2 = 0.01;
        spec.max_iterations = 4;
        spec.max_evaluations = 100;
        spec.n_threads = n_threads;
        results.push_back(network->make_lbfgs()->minimise(spec).loss);
    } else {
        const double learning_rates[3] = {0.01, 0.01, 0.005};
        EpochSpec epoch;
        epoch.rows = view(data.x, kRows, kInputs);
        epoch.targets = targets;
        epoch.n_order = kRows;
        epoch.batch_size = 8;
        epoch.learning_rates = learning_rates;
        epoch.n_threads = n_threads;
        Regularisation penalties;
        penalties.l2 = 0.01;
        penalties.weight_decay = 0.01;
        const auto trainer = network->make_trainer(solver.optimizer, penalties, 3);
        for (int i = 0; i < 2; ++i)
            results.push_back(trainer->epoch(epoch).loss());
    }
    network->get_parameters(w.data());
    results.insert(results.end(), w.begin(), w.end()); // exact
    for (const double number : results)
        if (!std::isfinite(number))
            throw std::runtime_error("the training diverged");
    return results;
}

template <class T> void print_all(const char *precision, int n_threads) {
    const Data<T> data;
    std::map<std::string, Hash> hashes;
    for (const Solver &solver : all_solvers()) {
        if (solver.lbfgs && kScalar<T> != Scalar::float64)
            continue;
        for (const ActivationRow &hidden : kActivations) {
            if (hidden.head_only || hidden.id == Activation::custom)
                continue;
            for (const Pairing &pairing : all_pairings())
                for (const double dropout : {0.0, 0.25}) {
                    if (solver.lbfgs && dropout > 0.0)
                        continue; // makes no difference to it
                    const std::vector<double> results =
                        train(data, solver, hidden.id, pairing, dropout, n_threads);
                    hashes["solver " + solver.name].add(results);
                    hashes[std::string("activation ") + hidden.name].add(results);
                    hashes["loss " + pairing.name].add(results);
                    hashes[dropout > 0.0 ? "dropout 0.25" : "dropout 0"].add(results);
                }
        }
    }
    for (const auto &[name, hash] : hashes)
        std::printf("%s %s %016" PRIx64 "\n", precision, name.c_str(), hash.value());
}

} // namespace

int main(int argc, char **argv) try {
    set_instruction_set(argc > 1 ? argv[1] : "");
    set_exact_threads(true);
    const int n_threads = argc > 2 ? std::atoi(argv[2]) : 1;
    print_all<float>("float32", n_threads);
    print_all<double>("float64", n_threads);
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
