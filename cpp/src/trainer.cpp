#include "densegrad/trainer.hpp"

#include "custom_activation.hpp"
#include "custom_loss.hpp"
#include "network_of.hpp"
#include "norms.hpp"
#include "passes.hpp"
#include "step_coefficients.hpp"
#include "stop_watch.hpp"
#include "sums.hpp"
#include "updates.hpp"

#include <limits>
#include <optional>
#include <stdexcept>
#include <string>

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
    struct Epoch; // one call of epoch()

    const Layer<T> &layer(int l) const { return network_.layers()[static_cast<std::size_t>(l - 1)]; }
    void check_state(int l, int s) const;
    void check_epoch(const EpochSpec &spec) const;
    void copy_order(const EpochSpec &spec);
    bool has_penalty() const { return regularisation_.l2 > 0.0 || regularisation_.l1 > 0.0; }
    int state_count() const { return kOptimizers[static_cast<int>(optimizer_.optimizer)].state_count; }
    double penalty_sum() const;
    double batch_weight(const Epoch &epoch, Index first, Index rows) const;
    bool phase_rows(Epoch &epoch, const Batch<T> &batch, double smoothing_factor, Index count, Team &team);
    bool phase_gradient(Epoch &epoch, Index count, GradientMode mode, Team &team);
    bool phase_update(Epoch &epoch, Index count, GradientMode mode, const std::vector<LayerStep<T>> &steps,
                      Team &team);
    bool may_skip_weights(const Epoch &epoch) const;
    void step_with_entries(const Epoch &epoch, Index count, const LayerStep<T> &step, Team &team);
    void refresh_all(Epoch &epoch, bool transposed, Team &team);
    void run(Epoch &epoch, Team &team);

    NetworkOf<T> &network_;
    OptimizerSpec optimizer_;
    Regularisation regularisation_;
    std::uint64_t seed_;
    std::int64_t steps_ = 0;
    std::vector<LayerState<T>> states_;
    std::vector<Index> order_; // the epoch's own: the caller's may change meanwhile
    Arena arena_;
    std::unique_ptr<Pass<T>> pass_;
};

template <class T> struct TrainerOf<T>::Epoch {
    const EpochSpec &spec;
    const Index *order; // null: 0, 1, 2, ...
    Index n_steps;
    const Pass<T> &pass;
    const SharedBlocks &blocks;
    bool stored; // the whole gradient is in its buffer before any weight changes
    std::optional<CustomLossExchange<T>> custom{};
    double loss = 0.0; // sum over the batches so far
    Index steps_done = 0;
    Index rows_done = 0; // of batches that have weight
    bool failed = false; // the custom loss gave no gradient
    StopWatch watch{spec.stop};
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
    lines_to_rows<T>(states_[static_cast<std::size_t>(l - 1)].state[s], layer(l).panel(), layer(l).n_in + 1,
                     layer(l).n_out, static_cast<T *>(out));
}

template <class T> void TrainerOf<T>::set_state(int l, int s, const RowsView &state) {
    check_state(l, s);
    if (state.n_rows != layer(l).n_in + 1 || state.n_columns != layer(l).n_out)
        throw std::invalid_argument("the optimizer state of a layer must have the shape of its weights");
    const Change change(network_.caller_lock());
    rows_to_lines<T>(state, states_[static_cast<std::size_t>(l - 1)].state[s], layer(l).panel());
}

template <class T> double TrainerOf<T>::penalty_sum() const {
    double squares = 0.0;
    double sizes = 0.0;
    for (std::size_t i = 0; i < states_.size(); ++i) {
        const Index blocks = network_.layers()[i].blocks();
        for (Index block = 0; block < blocks; ++block) {
            squares += states_[i].penalty[block];
            sizes += states_[i].penalty[blocks + block];
        }
    }
    return 0.5 * regularisation_.l2 * squares + regularisation_.l1 * sizes;
}

template <class T> double TrainerOf<T>::batch_weight(const Epoch &epoch, Index first, Index rows) const {
    const double *sample_weight = epoch.spec.targets.sample_weight;
    if (!sample_weight)
        return static_cast<double>(rows);
    double weight = 0.0;
    for (Index r = first; r < first + rows; ++r)
        weight += sample_weight[epoch.order ? epoch.order[r] : r];
    return weight;
}

// Goes by rows: gather, forward, loss, backward to every delta. Returns false if it was stopped on the way.
template <class T>
bool TrainerOf<T>::phase_rows(Epoch &epoch, const Batch<T> &batch, double smoothing_factor, Index count,
                              Team &team) {
    const std::vector<Layer<T>> &layers = network_.layers();
    const Kernels<T> &kernels = network_.kernels();
    const Pass<T> &pass = epoch.pass;
    const std::size_t done = forward_custom(layers, pass, batch, count, kernels, epoch.watch, team);
    if (!epoch.custom) {
        const LossArgs<T> loss = network_.loss_args(smoothing_factor);
        team.share_range(count, [&](Index begin, Index end, int thread) {
            if (!forward_rows(layers, pass, batch, done, false, kernels, epoch.watch, thread, begin, end))
                return;
            loss_rows(layers, loss, pass, batch, kernels, thread, begin, end);
            backward_rows(layers, pass, false, kernels, epoch.watch, begin, end);
        });
        return !epoch.watch.stopped();
    }
    team.share_range(count, [&](Index begin, Index end, int thread) {
        forward_rows(layers, pass, batch, done, true, kernels, epoch.watch, thread, begin, end);
    });
    if (epoch.watch.stopped())
        return false;
    if (!epoch.custom->run(pass, batch, count)) {
        epoch.failed = true;
        return false;
    }
    team.share_range(count, [&](Index begin, Index end, int thread) {
        kernels.head_delta(head_args(layers, pass, thread), begin, end);
        backward_rows(layers, pass, false, kernels, epoch.watch, begin, end);
    });
    return !epoch.watch.stopped();
}

// Goes by blocks, and sums the weight gradient into its buffer. Returns false if it was stopped on the way.
template <class T>
bool TrainerOf<T>::phase_gradient(Epoch &epoch, Index count, GradientMode mode, Team &team) {
    epoch.blocks.share(team, [&](const BlockRange &range) {
        const WeightArgs<T> args =
            sum_and_store(network_.layers()[range.l - 1], epoch.pass, range.l, count, mode);
        epoch.watch.run(range.begin, range.end, block_work<T>(count),
                        [&](Index begin, Index end) { network_.kernels().update_weights(args, begin, end); });
    });
    return !epoch.watch.stopped();
}

// Tells whether the next step changes no weight of the first layer that has no gradient. This is so from the
// second step of plain SGD on, for the first one turns a weight of -0 into +0. A custom loss may look at the
// velocities after each step.
template <class T> bool TrainerOf<T>::may_skip_weights(const Epoch &epoch) const {
    const Regularisation &r = regularisation_;
    const bool plain = optimizer_.optimizer == Optimizer::sgd && optimizer_.momentum == 0.0 && r.l2 == 0.0 &&
                       r.l1 == 0.0 && r.weight_decay == 0.0 && r.max_norm == 0.0;
    return plain && epoch.pass.sparse && network_.layers()[0].trainable && !epoch.stored && !epoch.custom &&
           epoch.spec.batch_size <= epoch.pass.rows && epoch.steps_done > 0;
}

// Updates the first layer's weights that have a gradient. Without momentum, velocities are of no use. The
// first step has left some, which are cleared in the second one. The last step leaves its own.
template <class T>
void TrainerOf<T>::step_with_entries(const Epoch &epoch, Index count, const LayerStep<T> &step, Team &team) {
    const Layer<T> &layer = network_.layers()[0];
    const SparseBatch<T> &batch = *epoch.pass.sparse;
    T *const velocity = states_[0].state[0];
    const std::vector<Index> &had_entries = batch.had_entries();
    if (epoch.steps_done == 1)
        team.share_range(static_cast<Index>(had_entries.size()), [&](Index begin, Index end, int) {
            for (Index i = begin; i < end; ++i)
                for (Index panel = 0; panel < line_count<T>(layer.n_out); ++panel)
                    std::fill_n(velocity + panel * layer.panel() +
                                    had_entries[static_cast<std::size_t>(i)] * kLanes<T>,
                                kLanes<T>, T(0));
        });
    WeightArgs<T> args =
        sum_and_update(layer, states_[0], epoch.pass, 1, count, GradientMode::none, step, false);
    args.state[0] = epoch.steps_done + 1 == epoch.n_steps ? velocity : nullptr;
    team.share_range(static_cast<Index>(batch.with_entries().size()), [&](Index begin, Index end, int) {
        network_.kernels().step_with_columns(args, batch.with_entries().data(), begin, end);
    });
}

// Goes by blocks, and updates all weights. `mode` tells whether earlier rows of the batch are in the buffer.
// Returns false if it was stopped before any weight changed.
template <class T>
bool TrainerOf<T>::phase_update(Epoch &epoch, Index count, GradientMode mode,
                                const std::vector<LayerStep<T>> &steps, Team &team) {
    std::vector<Layer<T>> &layers = network_.layers();
    const bool penalty = has_penalty();
    if (!epoch.stored) {
        const bool skip = may_skip_weights(epoch);
        if (skip)
            step_with_entries(epoch, count, steps[0], team);
        epoch.blocks.share(team, [&](const BlockRange &range) {
            if (skip && range.l == 1)
                return;
            network_.kernels().update_weights(sum_and_update(layers[range.l - 1], states_[range.l - 1],
                                                             epoch.pass, range.l, count, mode,
                                                             steps[range.l - 1], penalty),
                                              range.begin, range.end);
        });
    } else {
        if (!phase_gradient(
                epoch, count,
                mode == GradientMode::consume ? GradientMode::accumulate : GradientMode::overwrite, team))
            return false;
        const double limit = regularisation_.clip_norm;
        const T factor = limit > 0.0 ? clipping_factor(layers, states_, limit, epoch.blocks, team) : T(1);
        epoch.blocks.share(team, [&](const BlockRange &range) {
            network_.kernels().update_weights(update_from_stored(layers[range.l - 1], states_[range.l - 1],
                                                                 range.l, steps[range.l - 1], factor,
                                                                 penalty),
                                              range.begin, range.end);
        });
    }
    if (regularisation_.max_norm > 0.0) {
        limit_norms(layers, regularisation_.max_norm, team);
        refresh_all(epoch, true, team);
    }
    return true;
}

// Brings the penalties, and with `transposed` the transposed copies, up to the weights.
template <class T> void TrainerOf<T>::refresh_all(Epoch &epoch, bool transposed, Team &team) {
    epoch.blocks.share(team, [&](const BlockRange &range) {
        const Layer<T> &layer = network_.layers()[range.l - 1];
        network_.kernels().update_weights(refresh(layer, states_[range.l - 1],
                                                  transposed ? kept_transposed(layer, range.l) : nullptr,
                                                  has_penalty()),
                                          range.begin, range.end);
    });
}

template <class T> void TrainerOf<T>::run(Epoch &epoch, Team &team) {
    const EpochSpec &spec = epoch.spec;
    if (has_penalty())
        refresh_all(epoch, false, team);
    std::vector<LayerRates> rates;
    for (const Layer<T> &layer : network_.layers())
        rates.push_back(layer.rates);
    StepCoefficients<T> coefficients(optimizer_, regularisation_, rates, steps_);
    const auto factor_of = [](const double *factors, Index step) { return factors ? factors[step] : 1.0; };
    // After some 20 us of work a look at the clock takes nothing; a custom loss takes its own time.
    constexpr double kWorkBetweenQuestions = 1 << 20;
    const double work = network_.work(spec.rows) * static_cast<double>(3 * spec.batch_size);
    const Index steps_between_questions =
        work < kWorkBetweenQuestions && !epoch.custom ? static_cast<Index>(kWorkBetweenQuestions / work) : 1;
    for (Index s = 0; s < epoch.n_steps; ++s) {
        const Index batch_begin = s * spec.batch_size;
        const Index batch_rows = std::min(spec.batch_size, spec.n_order - batch_begin);
        const double weight = batch_weight(epoch, batch_begin, batch_rows);
        // A batch without weight has no gradient of its own; the optimizer steps on.
        const bool counts = weight >= std::numeric_limits<double>::min();
        const double scale = counts ? 1.0 / weight : 0.0;
        const std::vector<LayerStep<T>> &steps = coefficients.next(
            spec.learning_rates[s], regularisation_.weight_decay * factor_of(spec.decay_factors, s),
            counts ? weight : 1.0);
        const double penalty = has_penalty() ? penalty_sum() * scale : 0.0;
        const Index piece = epoch.pass.rows;
        double batch_loss = 0.0; // weighted sum over the rows so far
        for (Index done = 0; done < batch_rows; done += piece) {
            const Index count = std::min(piece, batch_rows - done);
            const Index first = batch_begin + done;
            const Batch<T> batch{&spec.rows,
                                 spec.targets,
                                 epoch.order ? epoch.order + first : nullptr,
                                 first,
                                 done,
                                 scale,
                                 mix_bits(seed_ + static_cast<std::uint64_t>(steps_)),
                                 factor_of(spec.dropout_factors, s)};
            batch.place(epoch.pass, count);
            if (!phase_rows(epoch, batch, factor_of(spec.smoothing_factors, s), count, team))
                return;
            if (epoch.pass.sparse && network_.layers()[0].trainable)
                epoch.pass.sparse->transpose();
            batch_loss = add_weighted_losses(batch_loss, epoch.pass.row_loss, batch, count);
            if (done + count < batch_rows) {
                phase_gradient(epoch, count, done > 0 ? GradientMode::accumulate : GradientMode::overwrite,
                               team);
            } else {
                if (!phase_update(epoch, count, done > 0 ? GradientMode::consume : GradientMode::none, steps,
                                  team))
                    return;
                epoch.loss += (batch_loss * scale + penalty) * static_cast<double>(batch_rows);
                epoch.rows_done += counts ? batch_rows : 0;
                ++epoch.steps_done;
                ++steps_; // here, and not after the epoch: a custom loss may read it
            }
            if (s % steps_between_questions == 0 && epoch.watch.ask())
                return;
        }
    }
}

template <class T> void TrainerOf<T>::check_epoch(const EpochSpec &spec) const {
    network_.check_rows(spec.rows);
    network_.check_targets(spec.targets);
    if (spec.n_order < 1 || (!spec.order && spec.n_order > spec.rows.n_rows))
        throw std::invalid_argument("an epoch needs at least one row, and no more than X has");
    if (spec.batch_size < 1)
        throw std::invalid_argument("batch_size must be positive, got " + std::to_string(spec.batch_size));
    if (!spec.learning_rates)
        throw std::invalid_argument("an epoch needs a learning rate for each step");
    for (const double *factors : {spec.dropout_factors, spec.smoothing_factors})
        for (Index s = 0; factors && s <= (spec.n_order - 1) / spec.batch_size; ++s)
            if (!(factors[s] >= 0.0 && factors[s] <= 1.0))
                throw std::invalid_argument("factors of dropout and of label smoothing must be in [0, 1]");
    if ((network_.spec().loss.loss == Loss::custom) != (spec.custom_loss != nullptr))
        throw std::invalid_argument("a custom loss, and only that, needs its function");
}

// The caller may write to its own order while the epoch runs, so each number is read once, checked and
// copied.
template <class T> void TrainerOf<T>::copy_order(const EpochSpec &spec) {
    order_.resize(spec.order ? static_cast<std::size_t>(spec.n_order) : 0);
    for (std::size_t i = 0; i < order_.size(); ++i) {
        const Index row = static_cast<const volatile Index *>(spec.order)[i];
        if (row < 0 || row >= spec.rows.n_rows)
            throw std::invalid_argument("order names row " + std::to_string(row) + ", X has " +
                                        std::to_string(spec.rows.n_rows));
        order_[i] = row;
    }
}

template <class T> EpochResult TrainerOf<T>::epoch(const EpochSpec &given) {
    check_epoch(given);
    const Change change(network_.caller_lock());
    copy_order(given);
    EpochSpec spec = given;
    spec.batch_size = std::min(spec.batch_size, spec.n_order);
    // A custom loss sees its batch whole.
    const Index piece = spec.custom_loss ? spec.batch_size : std::min(spec.batch_size, kPieceRows);
    const double work = network_.work(spec.rows);
    const int threads = network_.choose_threads(spec.n_threads, 3.0 * work, spec.n_order, piece);
    network_.need_transposed(false);
    // A longer update takes some 0.1 s, and a stop would have to wait for it.
    constexpr double kLongUpdate = 6e9;
    const bool stored =
        regularisation_.clip_norm > 0.0 || work * static_cast<double>(piece) > kLongUpdate * threads;
    if (spec.batch_size > piece || stored)
        network_.borrow_gradients();
    network_.invalidate_cache();
    network_.layers()[0].transposed_is_current = false;
    PassOptions options;
    options.training = true;
    options.sparse = has_sparse_rows(spec.rows);
    if (!pass_ || pass_->rows != piece || pass_->options.sparse != options.sparse ||
        static_cast<int>(pass_->scratch.size()) < threads) {
        pass_ = std::make_unique<Pass<T>>(network_.layers(), piece, threads, options);
    }
    const SharedBlocks blocks(network_.layers(), threads, true);
    const Index *order = spec.order ? order_.data() : nullptr;
    if (pass_->sparse) {
        pass_->sparse->reserve(most_entries(spec.rows, spec.n_order, spec.batch_size, piece,
                                            [order](Index r) { return order ? order[r] : r; }));
        pass_->sparse->reserve_columns();
    }
    Epoch epoch{spec, order, (spec.n_order + spec.batch_size - 1) / spec.batch_size, *pass_, blocks, stored};
    if (spec.custom_loss)
        epoch.custom.emplace(spec.custom_loss, spec.context, piece, network_.layers().back().n_out);
    run_team(threads, [&](Team &team) { run(epoch, team); });
    return {epoch.loss / static_cast<double>(std::max<Index>(epoch.rows_done, 1)), epoch.steps_done,
            epoch.failed || epoch.watch.stopped()};
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
