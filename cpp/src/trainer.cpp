#include "densegrad/trainer.hpp"

#include "custom_activation.hpp"
#include "custom_loss.hpp"
#include "leaves.hpp"
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

// The rows of one step that are here, by their numbers in the order.
struct StepRows {
    const Index *ends; // where those of each leaf end
    Index begin;
    Index first_number; // of the first one in the whole batch
    double scale;       // 1 / (sum of the sample weights of the whole batch)
    double dropout_factor, smoothing_factor;

    Index begin_of(Index leaf) const { return leaf == 0 ? begin : ends[leaf - 1]; }
};

Index step_count(const EpochSpec &spec) {
    return spec.shards.ends ? spec.shards.n_steps : (spec.n_order - 1) / spec.batch_size + 1;
}

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
    void need_buffers(Index count);
    bool phase_rows(Epoch &epoch, const Batch<T> &batch, double smoothing_factor, Index count, Team &team);
    bool phase_gradient(Epoch &epoch, Index count, GradientMode mode, const PartOfSum<T> &part, Team &team);
    bool phase_update(Epoch &epoch, Index count, GradientMode mode, const PartOfSum<T> &part,
                      const std::vector<LayerStep<T>> &steps, Team &team);
    bool may_skip_weights(const Epoch &epoch) const;
    void step_with_entries(const Epoch &epoch, Index count, const LayerStep<T> &step, Team &team);
    void update_stored(Epoch &epoch, const std::vector<LayerStep<T>> &steps, Team &team);
    void limit_all(Epoch &epoch, Team &team);
    void refresh_all(Epoch &epoch, bool transposed, Team &team);
    bool sum_losses(Epoch &epoch, const Piece &piece, const StepRows &rows, Index first, Index count,
                    Team &team);
    bool run_piece(Epoch &epoch, const Piece &piece, const StepRows &rows,
                   const std::vector<LayerStep<T>> &steps, Team &team);
    bool run_step(Epoch &epoch, const StepRows &rows, const std::vector<LayerStep<T>> &steps, double &loss,
                  Team &team);
    void run(Epoch &epoch, Team &team);

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

template <class T> struct TrainerOf<T>::Epoch {
    const EpochSpec &spec;
    const Index *order; // null: 0, 1, 2, ...
    Index n_steps;
    const Pass<T> &pass;
    const SharedBlocks &blocks;
    const LeafPlan &plan;
    bool stored; // the whole gradient is in its buffer before any weight changes
    std::optional<CustomLossExchange<T>> custom{};
    // Of the step under way: weighted sums over the rows of each leaf, and of each node; of the pass under
    // way: where the rows of its leaves end.
    std::vector<double> leaf_losses = std::vector<double>(static_cast<std::size_t>(spec.shards.count));
    std::vector<double> node_losses = std::vector<double>(plan.nodes.size());
    std::vector<Index> leaf_ends = std::vector<Index>(static_cast<std::size_t>(spec.shards.count));
    double loss = spec.loss_before; // sum over the batches so far
    Index steps_done = 0;
    Index rows_done = spec.rows_before; // of batches that have weight
    bool failed = false;                // the custom loss gave no gradient
    bool ended = false;                 // by the exchange
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

// Goes by blocks, and sums the weight gradient into a buffer. Returns false if it was stopped on the way.
template <class T>
bool TrainerOf<T>::phase_gradient(Epoch &epoch, Index count, GradientMode mode, const PartOfSum<T> &part,
                                  Team &team) {
    epoch.blocks.share(team, [&](const BlockRange &range) {
        WeightArgs<T> args = sum_and_store(network_.layers()[range.l - 1], epoch.pass, range.l, count, mode);
        part.place(args, network_.layers()[range.l - 1].first_weight);
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
           epoch.plan.pieces.size() == 1 && epoch.spec.batch_size <= epoch.pass.rows && epoch.steps_done > 0;
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

// Goes by blocks, and updates all weights. `mode` tells whether earlier rows of the leaf are in the buffer.
// Returns false if it was stopped before any weight changed.
template <class T>
bool TrainerOf<T>::phase_update(Epoch &epoch, Index count, GradientMode mode, const PartOfSum<T> &part,
                                const std::vector<LayerStep<T>> &steps, Team &team) {
    if (epoch.stored) {
        if (!phase_gradient(epoch, count,
                            mode == GradientMode::consume ? GradientMode::accumulate
                                                          : GradientMode::overwrite,
                            part, team))
            return false;
        update_stored(epoch, steps, team);
        return true;
    }
    const bool skip = may_skip_weights(epoch);
    if (skip)
        step_with_entries(epoch, count, steps[0], team);
    epoch.blocks.share(team, [&](const BlockRange &range) {
        if (skip && range.l == 1)
            return;
        WeightArgs<T> args = sum_and_update(network_.layers()[range.l - 1], states_[range.l - 1], epoch.pass,
                                            range.l, count, mode, steps[range.l - 1], has_penalty());
        part.place(args, network_.layers()[range.l - 1].first_weight);
        network_.kernels().update_weights(args, range.begin, range.end);
    });
    limit_all(epoch, team);
    return true;
}

// Goes by blocks, and updates all weights by the gradient that is in the layers' buffers.
template <class T>
void TrainerOf<T>::update_stored(Epoch &epoch, const std::vector<LayerStep<T>> &steps, Team &team) {
    std::vector<Layer<T>> &layers = network_.layers();
    const double limit = regularisation_.clip_norm;
    const T factor = limit > 0.0 ? clipping_factor(layers, states_, limit, epoch.blocks, team) : T(1);
    epoch.blocks.share(team, [&](const BlockRange &range) {
        network_.kernels().update_weights(update_from_stored(layers[range.l - 1], states_[range.l - 1],
                                                             range.l, steps[range.l - 1], factor,
                                                             has_penalty()),
                                          range.begin, range.end);
    });
    limit_all(epoch, team);
}

template <class T> void TrainerOf<T>::limit_all(Epoch &epoch, Team &team) {
    if (regularisation_.max_norm > 0.0) {
        limit_norms(network_.layers(), regularisation_.max_norm, team);
        refresh_all(epoch, true, team);
    }
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

// Goes by rows, and notes the losses of the leaves. Returns false if it was stopped on the way.
template <class T>
bool TrainerOf<T>::sum_losses(Epoch &epoch, const Piece &piece, const StepRows &rows, Index first,
                              Index count, Team &team) {
    if (count == 0) {
        std::fill(epoch.leaf_losses.begin() + piece.begin, epoch.leaf_losses.begin() + piece.end, 0.0);
        std::fill(epoch.leaf_ends.begin(), epoch.leaf_ends.end(), 0);
        return true;
    }
    const Batch<T> batch{&epoch.spec.rows,
                         epoch.spec.targets,
                         epoch.order ? epoch.order + first : nullptr,
                         first,
                         rows.first_number + first - rows.begin,
                         rows.scale,
                         mix_bits(seed_ + static_cast<std::uint64_t>(steps_)),
                         rows.dropout_factor};
    batch.place(epoch.pass, count);
    if (!phase_rows(epoch, batch, rows.smoothing_factor, count, team))
        return false;
    if (epoch.pass.sparse && network_.layers()[0].trainable)
        epoch.pass.sparse->transpose();
    const bool continues = first > rows.begin_of(piece.begin);
    for (Index leaf = piece.begin; leaf < piece.end; ++leaf) {
        double &loss = epoch.leaf_losses[static_cast<std::size_t>(leaf)];
        const Index begin = continues ? 0 : rows.begin_of(leaf) - first;
        const Index end = std::min(rows.ends[leaf] - first, count);
        loss = add_weighted_losses(continues ? loss : 0.0, epoch.pass.row_loss + begin, batch.from(begin),
                                   end - begin);
        epoch.leaf_ends[static_cast<std::size_t>(leaf - piece.begin)] = end;
    }
    return true;
}

// Sums over the rows of a piece, pass by pass. With the last piece it updates, unless other processes have
// sums, too. Returns false if it was stopped before any weight changed.
template <class T>
bool TrainerOf<T>::run_piece(Epoch &epoch, const Piece &piece, const StepRows &rows,
                             const std::vector<LayerStep<T>> &steps, Team &team) {
    const auto buffer = [&](Index i) {
        return i < static_cast<Index>(buffers_.size()) ? buffers_[static_cast<std::size_t>(i)] : nullptr;
    };
    const bool updates = &piece == &epoch.plan.pieces.back() && !epoch.spec.shards.exchange;
    const Index begin = rows.begin_of(piece.begin), end = rows.ends[piece.end - 1];
    Index first = begin;
    for (; end - first > epoch.pass.rows; first += epoch.pass.rows) {
        if (!sum_losses(epoch, piece, rows, first, epoch.pass.rows, team))
            return false;
        PartOfSum<T> part;
        part.start = part.store = buffer(piece.scratch());
        phase_gradient(epoch, epoch.pass.rows,
                       first > begin ? GradientMode::accumulate : GradientMode::overwrite, part, team);
    }
    if (!sum_losses(epoch, piece, rows, first, end - first, team))
        return false;
    PartOfSum<T> part;
    part.start = buffer(piece.scratch());
    part.store = buffer(piece.buffer);
    part.merges = buffers_.data() + piece.buffer;
    part.n_merges = piece.n_merges;
    if (piece.end - piece.begin > 1 || begin == end) {
        part.leaf_ends = epoch.leaf_ends.data();
        part.n_leaves = piece.end - piece.begin;
    }
    if (updates)
        return phase_update(epoch, end - first, first > begin ? GradientMode::consume : GradientMode::none,
                            part, steps, team);
    return phase_gradient(epoch, end - first,
                          first > begin ? GradientMode::accumulate : GradientMode::overwrite, part, team);
}

// Makes an update, and gives the weighted sum of the losses of its rows. Returns false if it was stopped
// before any weight changed.
template <class T>
bool TrainerOf<T>::run_step(Epoch &epoch, const StepRows &rows, const std::vector<LayerStep<T>> &steps,
                            double &loss, Team &team) {
    const Shards &shards = epoch.spec.shards;
    bool done = !epoch.watch.stopped();
    for (std::size_t i = 0; i < epoch.plan.pieces.size() && done; ++i)
        done = run_piece(epoch, epoch.plan.pieces[i], rows, steps, team);
    sum_nodes(epoch.plan, epoch.leaf_losses, shards.first, epoch.node_losses);
    if (shards.exchange) {
        done = shards.exchange(shards.context, !done, epoch.node_losses.data(),
                               reinterpret_cast<void *const *>(buffers_.data()),
                               static_cast<std::int64_t>(epoch.plan.nodes.size()), network_.weight_count());
        if (done)
            update_stored(epoch, steps, team);
        else
            epoch.ended = true;
    }
    loss = epoch.node_losses[0];
    return done;
}

template <class T> void TrainerOf<T>::run(Epoch &epoch, Team &team) {
    const EpochSpec &spec = epoch.spec;
    const Shards &shards = spec.shards;
    if (has_penalty())
        refresh_all(epoch, false, team);
    StepCoefficients<T> coefficients(optimizer_, regularisation_, network_.layers(), steps_);
    const auto factor_of = [](const double *factors, Index step) { return factors ? factors[step] : 1.0; };
    // After some 20 us of work a look at the clock takes nothing; a custom loss takes its own time.
    constexpr double kWorkBetweenQuestions = 1 << 20;
    const double work = network_.work(spec.rows) * static_cast<double>(3 * spec.batch_size);
    const Index steps_between_questions =
        work < kWorkBetweenQuestions && !epoch.custom ? static_cast<Index>(kWorkBetweenQuestions / work) : 1;
    Index begin = 0;
    for (Index s = 0; s < epoch.n_steps; ++s) {
        const Index one_end = std::min(begin + spec.batch_size, spec.n_order);
        const Index *ends = shards.ends ? shards.ends + s * shards.count : &one_end;
        const Index end = ends[shards.count - 1];
        const Index batch_rows = shards.batch_rows ? shards.batch_rows[s] : end - begin;
        const double weight =
            shards.batch_weights ? shards.batch_weights[s] : batch_weight(epoch, begin, end - begin);
        // A batch without weight has no gradient of its own; the optimizer steps on.
        const bool counts = weight >= std::numeric_limits<double>::min();
        const double scale = counts ? 1.0 / weight : 0.0;
        const std::vector<LayerStep<T>> &steps = coefficients.next(
            spec.learning_rates[s], regularisation_.weight_decay * factor_of(spec.decay_factors, s),
            counts ? weight : 1.0);
        const double penalty = has_penalty() ? penalty_sum() * scale : 0.0;
        const StepRows rows{ends,
                            begin,
                            shards.first_rows ? shards.first_rows[s] : 0,
                            scale,
                            factor_of(spec.dropout_factors, s),
                            factor_of(spec.smoothing_factors, s)};
        double loss = 0.0;
        if (!run_step(epoch, rows, steps, loss, team))
            return;
        epoch.loss += (loss * scale + penalty) * static_cast<double>(batch_rows);
        epoch.rows_done += counts ? batch_rows : 0;
        ++epoch.steps_done;
        ++steps_; // here, and not after the epoch: a custom loss may read it
        begin = end;
        // With other processes, the next exchange tells them.
        if (s % steps_between_questions == 0 && (!shards.exchange || s + 1 < epoch.n_steps) &&
            epoch.watch.ask() && !shards.exchange)
            return;
    }
}

template <class T> void TrainerOf<T>::check_epoch(const EpochSpec &spec) const {
    network_.check_rows(spec.rows);
    network_.check_targets(spec.targets);
    if (spec.n_order < 1 || (!spec.order && spec.n_order > spec.rows.n_rows))
        throw std::invalid_argument("an epoch needs at least one row, and no more than X has");
    if (spec.batch_size < 1)
        throw std::invalid_argument("batch_size must be positive, got " + std::to_string(spec.batch_size));
    check_shards(spec.shards, spec.n_order);
    if (!spec.learning_rates)
        throw std::invalid_argument("an epoch needs a learning rate for each step");
    for (const double *factors : {spec.dropout_factors, spec.smoothing_factors})
        for (Index s = 0; factors && s < step_count(spec); ++s)
            if (!(factors[s] >= 0.0 && factors[s] <= 1.0))
                throw std::invalid_argument("factors of dropout and of label smoothing must be in [0, 1]");
    if ((network_.spec().loss.loss == Loss::custom) != (spec.custom_loss != nullptr))
        throw std::invalid_argument("a custom loss, and only that, needs its function");
}

// The caller may write to its own order while the epoch runs, so each number is read once, checked and
// copied.
template <class T> void TrainerOf<T>::copy_order(const EpochSpec &spec) {
    const volatile Index *const order = spec.order;
    order_.resize(order ? static_cast<std::size_t>(spec.n_order) : 0);
    for (std::size_t i = 0; order && i < order_.size(); ++i) {
        const Index row = order[i];
        if (row < 0 || row >= spec.rows.n_rows)
            throw std::invalid_argument("order names row " + std::to_string(row) + ", X has " +
                                        std::to_string(spec.rows.n_rows));
        order_[i] = row;
    }
}

// Gives the most rows of a leaf in a step.
Index largest_leaf(const EpochSpec &spec) {
    const Shards &shards = spec.shards;
    if (!shards.ends)
        return std::min(spec.batch_size, spec.n_order);
    Index largest = 1;
    for (Index i = 0; i < shards.n_steps * shards.count; ++i)
        largest = std::max(largest, shards.ends[i] - (i == 0 ? 0 : shards.ends[i - 1]));
    return largest;
}

// Gives the most entries of a pass, `piece` rows of a leaf or fewer.
Index entries_of_pass(const EpochSpec &spec, const Index *order, Index piece) {
    const auto row_number = [order](Index r) { return order ? order[r] : r; };
    const Shards &shards = spec.shards;
    if (!shards.ends)
        return most_entries(spec.rows, spec.n_order, spec.batch_size, piece, row_number);
    Index most = 0, begin = 0;
    for (Index i = 0; i < shards.n_steps * shards.count; ++i) {
        const Index rows = shards.ends[i] - begin;
        most = std::max(most, most_entries(spec.rows, rows, std::max<Index>(rows, 1), piece,
                                           [&](Index r) { return row_number(begin + r); }));
        begin = shards.ends[i];
    }
    return most;
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
    check_epoch(given);
    const Change change(network_.caller_lock());
    copy_order(given);
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
    const bool stored = regularisation_.clip_norm > 0.0 || shards.exchange ||
                        work * static_cast<double>(piece) > kLongUpdate * threads;
    need_buffers(leaf > piece || plan.pieces.size() > 1 || stored ? plan.n_buffers : 0);
    network_.invalidate_cache();
    network_.layers()[0].transposed_is_current = false;
    PassOptions options;
    options.training = true;
    options.sparse = sparse;
    if (!pass_ || !pass_->fits(piece, threads, options))
        pass_ = std::make_unique<Pass<T>>(network_.layers(), piece, threads, options);
    const SharedBlocks blocks(network_.layers(), threads, true);
    const Index *order = spec.order ? order_.data() : nullptr;
    if (sparse) {
        pass_->sparse->reserve(entries_of_pass(spec, order, piece));
        pass_->sparse->reserve_columns();
    }
    Epoch epoch{spec, order, step_count(spec), *pass_, blocks, plan, stored};
    if (spec.custom_loss)
        epoch.custom.emplace(spec.custom_loss, spec.context, piece, network_.layers().back().n_out);
    run_team(threads, [&](Team &team) { run(epoch, team); });
    return {epoch.loss, epoch.rows_done, epoch.steps_done,
            epoch.failed || epoch.ended || (!shards.exchange && epoch.watch.stopped())};
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
