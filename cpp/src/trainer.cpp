#include "densegrad/trainer.hpp"

#include "custom_loss.hpp"
#include "epoch_spec.hpp"
#include "network_of.hpp"
#include "step.hpp"
#include "step_coefficients.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace densegrad {
namespace {

template <class T> class TrainerOf final : public Trainer {
  public:
    TrainerOf(NetworkOf<T> &network, const OptimizerSpec &optimizer, const Regularisation &regularisation,
              std::uint64_t seed);

    EpochResult epoch(const EpochSpec &spec) override;
    void set_hyperparameters(const OptimizerSpec &optimizer, const Regularisation &regularisation) override;
    std::int64_t steps() const override;
    void set_steps(std::int64_t steps) override;
    void get_state(int l, int s, void *out) const override;
    void set_state(int l, int s, const RowsView &state) override;

  private:
    const Layer<T> &layer(int l) const { return network_.layers()[static_cast<std::size_t>(l - 1)]; }
    void check_state(int l, int s) const;
    int state_count() const { return kOptimizers[static_cast<int>(optimizer_.optimizer)].state_count; }
    void need_buffers(Index count);
    EpochResult run(const StepPlan<T> &plan, StopWatch &watch, Team &team);

    NetworkOf<T> &network_;
    OptimizerSpec optimizer_;
    Regularisation regularisation_;
    std::uint64_t seed_;
    std::int64_t steps_ = 0;
    std::vector<LayerState<T>> states_;
    std::vector<Index> order_; // the epoch's own: the caller's may change meanwhile
    Arena arena_;
    Arena buffers_arena_;
    std::vector<T *> buffers_; // each for the gradients of all layers; the first is the network's own
    std::unique_ptr<Pass<T>> pass_;
};

void check_hyperparameters(const OptimizerSpec &optimizer, const Regularisation &regularisation) {
    const auto check = [](bool good, const char *what, double value) {
        if (!good)
            throw std::invalid_argument(std::string(what) + ", got " + std::to_string(value));
    };
    const int number = static_cast<int>(optimizer.optimizer);
    check(number >= 0 && number < kOptimizerCount, "there is no such optimizer", number);
    check(optimizer.momentum >= 0.0 && optimizer.momentum <= 1.0, "momentum must be in [0, 1]",
          optimizer.momentum);
    check(optimizer.beta_1 >= 0.0 && optimizer.beta_1 < 1.0, "beta_1 must be in [0, 1)", optimizer.beta_1);
    check(optimizer.beta_2 >= 0.0 && optimizer.beta_2 < 1.0, "beta_2 must be in [0, 1)", optimizer.beta_2);
    check(optimizer.epsilon > 0.0, "epsilon must be positive", optimizer.epsilon);
    check(regularisation.l2 >= 0.0, "l2 must not be negative", regularisation.l2);
    check(regularisation.l1 >= 0.0, "l1 must not be negative", regularisation.l1);
    check(regularisation.weight_decay >= 0.0, "weight_decay must not be negative",
          regularisation.weight_decay);
    check(regularisation.max_norm >= 0.0, "max_norm must not be negative", regularisation.max_norm);
    check(regularisation.clip_norm >= 0.0, "clip_norm must not be negative", regularisation.clip_norm);
}

template <class T>
TrainerOf<T>::TrainerOf(NetworkOf<T> &network, const OptimizerSpec &optimizer,
                        const Regularisation &regularisation, std::uint64_t seed)
    : network_(network), optimizer_(optimizer), regularisation_(regularisation), seed_(seed),
      states_(network.layers().size()) {
    check_hyperparameters(optimizer, regularisation);
    const auto carve = [&](auto visit) {
        for (std::size_t i = 0; i < states_.size(); ++i) {
            const Layer<T> &layer = network_.layers()[i];
            for (int s = 0; s < state_count(); ++s)
                visit(states_[i].state[s], layer.weight_count());
            visit(states_[i].penalty, 2 * layer.blocks());
            visit(states_[i].squared_norm, layer.blocks());
        }
    };
    carve(
        [&](auto *&buffer, Index count) { arena_.plan<std::remove_reference_t<decltype(*buffer)>>(count); });
    arena_.allocate();
    carve([&](auto *&buffer, Index count) {
        buffer = arena_.take<std::remove_reference_t<decltype(*buffer)>>(count);
    });
}

template <class T>
void TrainerOf<T>::set_hyperparameters(const OptimizerSpec &optimizer, const Regularisation &regularisation) {
    check_hyperparameters(optimizer, regularisation);
    if (optimizer.optimizer != optimizer_.optimizer)
        throw std::invalid_argument("a trainer keeps its kind of optimizer");
    const Change change(network_.caller_lock());
    optimizer_ = optimizer;
    regularisation_ = regularisation;
}

template <class T> std::int64_t TrainerOf<T>::steps() const {
    const Read read(network_.caller_lock());
    return steps_;
}

template <class T> void TrainerOf<T>::set_steps(std::int64_t steps) {
    if (steps < 0)
        throw std::invalid_argument("steps must not be negative, got " + std::to_string(steps));
    const Change change(network_.caller_lock());
    steps_ = steps;
}

template <class T> void TrainerOf<T>::check_state(int l, int s) const {
    if (l < 1 || l > network_.depth() || s < 0 || s >= state_count())
        throw std::out_of_range("there is no optimizer state " + std::to_string(s) + " of layer " +
                                std::to_string(l));
}

template <class T> void TrainerOf<T>::get_state(int l, int s, void *out) const {
    check_state(l, s);
    const Read read(network_.caller_lock());
    lines_to_rows<T>(states_[static_cast<std::size_t>(l - 1)].state[s], layer(l).panel(), layer(l).rows(),
                     layer(l).n_out, static_cast<T *>(out));
}

template <class T> void TrainerOf<T>::set_state(int l, int s, const RowsView &state) {
    check_state(l, s);
    if (state.n_rows != layer(l).rows() || state.n_columns != layer(l).n_out)
        throw std::invalid_argument("the optimizer state of a layer must have the shape of its weights");
    const Change change(network_.caller_lock());
    rows_to_lines<T>(state, states_[static_cast<std::size_t>(l - 1)].state[s], layer(l).panel());
}

// Makes the steps of an epoch, as long as nothing stops them.
template <class T> EpochResult TrainerOf<T>::run(const StepPlan<T> &plan, StopWatch &watch, Team &team) {
    const EpochSpec &spec = plan.spec;
    const Shards &shards = spec.shards;
    const Index n_steps = step_count(spec);
    if (plan.weights.has_penalty())
        plan.weights.refresh_penalty(team);
    Steps<T> all(network_, plan, watch);
    StepCoefficients<T> coefficients(optimizer_, regularisation_, network_.layers(), steps_);
    const auto factor_of = [](const double *factors, Index step) { return factors ? factors[step] : 1.0; };
    // After some 20 us of work a look at the clock takes nothing; a custom loss takes its own time.
    constexpr double kWorkBetweenQuestions = 1 << 20;
    const double work = network_.work(spec.rows) * static_cast<double>(3 * spec.batch_size);
    const Index steps_between_questions =
        work < kWorkBetweenQuestions && !plan.custom ? static_cast<Index>(kWorkBetweenQuestions / work) : 1;
    EpochResult result;
    result.loss_sum = spec.loss_before;
    result.n_rows = spec.rows_before;
    Index begin = 0;
    for (Index s = 0; s < n_steps; ++s) {
        const Index one_end = std::min(begin + spec.batch_size, spec.n_order);
        const Index *ends = shards.ends ? shards.ends + s * shards.count : &one_end;
        const Index end = ends[shards.count - 1];
        const Index batch_rows = shards.batch_rows ? shards.batch_rows[s] : end - begin;
        const double weight = shards.batch_weights ? shards.batch_weights[s]
                                                   : sum_of_weights(spec, plan.order, begin, end - begin);
        // A batch without weight has no gradient of its own; the optimizer steps on.
        const bool counts = weight >= std::numeric_limits<double>::min();
        const double scale = counts ? 1.0 / weight : 0.0;
        const std::vector<LayerStep<T>> &steps = coefficients.next(
            spec.learning_rates[s], regularisation_.weight_decay * factor_of(spec.decay_factors, s),
            counts ? weight : 1.0);
        const double penalty = plan.weights.has_penalty() ? plan.weights.penalty() * scale : 0.0;
        const StepRows rows{.ends = ends,
                            .begin = begin,
                            .first_number = shards.first_rows ? shards.first_rows[s] : 0,
                            .scale = scale,
                            .dropout_key = mix_bits(seed_ + static_cast<std::uint64_t>(steps_)),
                            .dropout_factor = factor_of(spec.dropout_factors, s),
                            .smoothing_factor = factor_of(spec.smoothing_factors, s)};
        if (!all.run(rows, steps, s + 1 == n_steps, team))
            break;
        result.loss_sum += (all.loss() * scale + penalty) * static_cast<double>(batch_rows);
        result.n_rows += counts ? batch_rows : 0; // of batches that have weight
        ++result.n_steps;
        ++steps_; // here, and not after the epoch: a custom loss may read it
        begin = end;
        // With other processes, the next exchange tells them.
        if (s % steps_between_questions == 0 && (!shards.exchange || s + 1 < n_steps) && watch.ask() &&
            !shards.exchange)
            break;
    }
    result.stopped = all.refused() || (!shards.exchange && watch.stopped());
    return result;
}

// Makes room for the gradients of all layers, `count` times.
template <class T> void TrainerOf<T>::need_buffers(Index count) {
    if (count == 0)
        return;
    T *own = network_.borrow_gradients();
    if (static_cast<Index>(buffers_.size()) >= count)
        return;
    buffers_.assign(1, own);
    Arena arena;
    for (Index i = 1; i < count; ++i)
        arena.plan<T>(network_.weight_count());
    if (count > 1)
        arena.allocate();
    for (Index i = 1; i < count; ++i)
        buffers_.push_back(arena.take<T>(network_.weight_count()));
    buffers_arena_ = std::move(arena);
}

template <class T> EpochResult TrainerOf<T>::epoch(const EpochSpec &given) {
    network_.check_rows(given.rows);
    network_.check_targets(given.targets);
    check_epoch(given);
    if ((network_.spec().loss.loss == Loss::custom) != (given.custom_loss != nullptr))
        throw std::invalid_argument("a custom loss, and only that, needs its function");
    const Change change(network_.caller_lock());
    copy_order(given, order_);
    EpochSpec spec = given;
    const Shards &shards = spec.shards;
    const Index leaf = largest_leaf(spec);
    spec.batch_size = shards.ends ? leaf * shards.count : leaf;
    // A pass holds the leaves of a node. A custom loss sees its batch, or leaf, whole; functions of the user
    // are called for one leaf at a time, since what they give may depend on the other rows.
    Index leaves = 1;
    const bool calls_user = spec.custom_loss || network_.has_custom_activation();
    const bool sparse = network_.reads_sparse(spec.rows); // the columns of its entries are those of one leaf
    while (!calls_user && !sparse && leaves < shards.count && 2 * leaves * leaf <= kPieceRows)
        leaves *= 2;
    const Index piece = spec.custom_loss ? leaf : std::min(leaves * leaf, kPieceRows);
    const LeafPlan plan(shards.total, shards.first, shards.first + shards.count, leaves, leaf > piece);
    const double work = network_.work(spec.rows);
    const int threads = network_.choose_threads(spec.n_threads, 3.0 * work, spec.n_order, piece);
    network_.need_transposed(false);
    // A longer update takes some 0.1 s, and a stop would have to wait for it.
    constexpr double kLongUpdate = 6e9;
    const bool stores = regularisation_.clip_norm > 0.0 || shards.exchange ||
                        work * static_cast<double>(piece) > kLongUpdate * threads;
    need_buffers(leaf > piece || plan.pieces.size() > 1 || stores ? plan.n_buffers : 0);
    network_.invalidate_cache();
    network_.layers()[0].transposed_is_current = false;
    PassOptions options;
    options.training = true;
    options.sparse = sparse;
    if (!pass_ || !pass_->fits(piece, threads, options))
        pass_ = std::make_unique<Pass<T>>(network_.layers(), piece, threads, options);
    const Index *order = spec.order ? order_.data() : nullptr;
    if (sparse) {
        pass_->sparse->reserve(entries_of_pass(spec, order, piece));
        pass_->sparse->reserve_columns();
    }
    // A custom loss may look at the velocities after each step.
    const bool skips_weights = sparse && network_.layers()[0].trainable && !stores && !spec.custom_loss &&
                               plan.pieces.size() == 1 && spec.batch_size <= piece &&
                               is_plain_sgd(optimizer_, regularisation_);
    const SharedBlocks blocks(network_.layers(), threads, true);
    const WeightPhase<T> weights(network_.layers(), states_, network_.kernels(), regularisation_, blocks);
    std::optional<CustomLossExchange<T>> custom;
    if (spec.custom_loss)
        custom.emplace(spec.custom_loss, spec.context, piece, network_.layers().back().n_out);
    const StepPlan<T> steps{.spec = spec,
                            .order = order,
                            .pass = *pass_,
                            .leaves = plan,
                            .weights = weights,
                            .states = states_,
                            .buffers = buffers_,
                            .stores = stores,
                            .skips_weights = skips_weights,
                            .custom = custom ? &*custom : nullptr};
    StopWatch watch(spec.stop);
    EpochResult result;
    run_team(threads, [&](Team &team) { result = run(steps, watch, team); });
    return result;
}

} // namespace

template <class T>
std::unique_ptr<Trainer> NetworkOf<T>::make_trainer(const OptimizerSpec &optimizer,
                                                    const Regularisation &regularisation,
                                                    std::uint64_t seed) {
    return std::make_unique<TrainerOf<T>>(*this, optimizer, regularisation, seed);
}

template std::unique_ptr<Trainer> NetworkOf<float>::make_trainer(const OptimizerSpec &,
                                                                 const Regularisation &, std::uint64_t);
template std::unique_ptr<Trainer> NetworkOf<double>::make_trainer(const OptimizerSpec &,
                                                                  const Regularisation &, std::uint64_t);

} // namespace densegrad
