#include "densegrad/trainer.hpp"

#include "network_of.hpp"
#include "step_numbers.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace densegrad {
namespace {

// What the optimizer keeps for each weight, and where a batch's penalties are summed.
template <class T> struct LayerState {
    T *state[2] = {nullptr, nullptr};
    double *penalty = nullptr;      // (2, units): sums of w^2 and |w| of a unit
    double *squared_norm = nullptr; // (units,): of the gradient, when it is clipped
};

template <class T> class TrainerOf final : public Trainer {
  public:
    TrainerOf(NetworkOf<T> &network, const OptimizerSpec &spec, std::uint64_t seed);

    EpochResult epoch(const EpochSpec &spec) override;
    void set_optimizer(const OptimizerSpec &spec) override;
    std::int64_t steps() const override { return steps_; }
    void set_steps(std::int64_t steps) override;
    void get_state(int l, int s, void *out) const override;
    void set_state(int l, int s, const RowsView &state) override;

  private:
    struct Epoch; // one call of epoch()

    void check_state(int l, int s) const;
    void check_epoch(const EpochSpec &spec) const;
    bool has_penalty() const { return spec_.l2 > 0.0 || spec_.l1 > 0.0; }
    int state_count() const { return kOptimizers[static_cast<int>(spec_.optimizer)].state_count; }
    double penalty_sum() const;
    WeightArgs<T> refresh_args(const Layer<T> &layer, const LayerState<T> &state, std::size_t l) const;
    void phase_rows(Epoch &epoch, const Batch<T> &batch, Index count, Team &team);
    void custom_delta(Epoch &epoch, const Batch<T> &batch, Index count);
    bool phase_weights(Epoch &epoch, Index count, bool first, bool last, const OptimizerStep<T> &step,
                       Team &team);
    double gradient_norm(Epoch &epoch, double factor, Team &team);
    T clipping_factor(Epoch &epoch, Team &team);
    void clip_and_update(Epoch &epoch, const OptimizerStep<T> &step, Team &team);
    void limit_norms(Epoch &epoch, Team &team);
    void run(Epoch &epoch, Team &team);

    NetworkOf<T> &network_;
    OptimizerSpec spec_;
    std::uint64_t seed_;
    std::int64_t steps_ = 0;
    std::vector<LayerState<T>> states_;
    Arena arena_;
    std::unique_ptr<Pass<T>> pass_;
};

template <class T> struct TrainerOf<T>::Epoch {
    const EpochSpec &spec;
    TargetsView<T> targets;
    Index n_steps;
    const Pass<T> &pass;
    const UnitChunks &units;
    std::vector<T> output, loss_gradient; // C order, for a custom loss
    std::vector<Index> row_numbers;
    double loss = 0.0;       // sum over the batches so far
    double batch_loss = 0.0; // weighted sum over the rows of this batch so far
    Index steps_done = 0;
    Index rows_done = 0; // of batches that have weight
    bool stored = false; // the gradient is summed up and kept before any weight changes
    bool failed = false; // the custom loss gave no gradient
    StopWatch watch{spec.stop};
};

void check_optimizer(const OptimizerSpec &spec) {
    const auto check = [](bool good, const char *what, double value) {
        if (!good)
            throw std::invalid_argument(std::string(what) + ", got " + std::to_string(value));
    };
    check(spec.momentum >= 0.0 && spec.momentum <= 1.0, "momentum must be in [0, 1]", spec.momentum);
    check(spec.beta_1 >= 0.0 && spec.beta_1 < 1.0, "beta_1 must be in [0, 1)", spec.beta_1);
    check(spec.beta_2 >= 0.0 && spec.beta_2 < 1.0, "beta_2 must be in [0, 1)", spec.beta_2);
    check(spec.epsilon > 0.0, "epsilon must be positive", spec.epsilon);
    check(spec.l2 >= 0.0, "l2 must not be negative", spec.l2);
    check(spec.l1 >= 0.0, "l1 must not be negative", spec.l1);
    check(spec.weight_decay >= 0.0, "weight_decay must not be negative", spec.weight_decay);
    check(spec.max_norm >= 0.0, "max_norm must not be negative", spec.max_norm);
    check(spec.clip_norm >= 0.0, "clip_norm must not be negative", spec.clip_norm);
}

template <class T>
TrainerOf<T>::TrainerOf(NetworkOf<T> &network, const OptimizerSpec &spec, std::uint64_t seed)
    : network_(network), spec_(spec), seed_(seed), states_(network.layers().size()) {
    check_optimizer(spec);
    const auto carve = [&](auto visit) {
        for (std::size_t i = 0; i < states_.size(); ++i) {
            const Layer<T> &layer = network_.layers()[i];
            for (int s = 0; s < state_count(); ++s)
                visit(states_[i].state[s], layer.weight_count());
            visit(states_[i].penalty, 2 * layer.units());
            visit(states_[i].squared_norm, layer.units());
        }
    };
    carve([&](auto *&piece, Index count) { arena_.plan<std::remove_reference_t<decltype(*piece)>>(count); });
    arena_.allocate();
    carve([&](auto *&piece, Index count) {
        piece = arena_.take<std::remove_reference_t<decltype(*piece)>>(count);
    });
}

template <class T> void TrainerOf<T>::set_optimizer(const OptimizerSpec &spec) {
    check_optimizer(spec);
    if (spec.optimizer != spec_.optimizer)
        throw std::invalid_argument("a trainer keeps its kind of optimizer");
    spec_ = spec;
}

template <class T> void TrainerOf<T>::set_steps(std::int64_t steps) {
    if (steps < 0)
        throw std::invalid_argument("steps must not be negative, got " + std::to_string(steps));
    steps_ = steps;
}

template <class T> void TrainerOf<T>::check_state(int l, int s) const {
    if (l < 1 || l > network_.depth() || s < 0 || s >= state_count())
        throw std::out_of_range("there is no optimizer state " + std::to_string(s) + " of layer " +
                                std::to_string(l));
}

template <class T> void TrainerOf<T>::get_state(int l, int s, void *out) const {
    check_state(l, s);
    const Layer<T> &layer = network_.layers()[static_cast<std::size_t>(l - 1)];
    lines_to_rows<T>(states_[static_cast<std::size_t>(l - 1)].state[s], layer.panel(), layer.n_in + 1,
                     layer.n_out, static_cast<T *>(out));
}

template <class T> void TrainerOf<T>::set_state(int l, int s, const RowsView &state) {
    check_state(l, s);
    const Layer<T> &layer = network_.layers()[static_cast<std::size_t>(l - 1)];
    if (state.n_rows != layer.n_in + 1 || state.n_columns != layer.n_out)
        throw std::invalid_argument("the optimizer state of a layer must have the shape of its weights");
    rows_to_lines<T>(state, states_[static_cast<std::size_t>(l - 1)].state[s], layer.panel());
}

template <class T> double TrainerOf<T>::penalty_sum() const {
    double squares = 0.0;
    double sizes = 0.0;
    for (std::size_t i = 0; i < states_.size(); ++i) {
        const Index units = network_.layers()[i].units();
        for (Index u = 0; u < units; ++u) {
            squares += states_[i].penalty[u];
            sizes += states_[i].penalty[units + u];
        }
    }
    return 0.5 * spec_.l2 * squares + spec_.l1 * sizes;
}

// What brings the transposed copy and the penalties up to the weights, and changes nothing else.
template <class T>
WeightArgs<T> TrainerOf<T>::refresh_args(const Layer<T> &layer, const LayerState<T> &state,
                                         std::size_t l) const {
    WeightArgs<T> args{};
    args.n_in = layer.n_in;
    args.n_out = layer.n_out;
    args.weights = layer.weights;
    args.transposed = l > 1 ? layer.transposed : nullptr;
    args.penalty = has_penalty() ? state.penalty : nullptr;
    return args;
}

// Phase 1, by rows: gather, forward, loss, backward to every delta.
template <class T>
void TrainerOf<T>::phase_rows(Epoch &epoch, const Batch<T> &batch, Index count, Team &team) {
    const std::vector<Layer<T>> &layers = network_.layers();
    const Kernels<T> &kernels = network_.kernels();
    const Pass<T> &pass = epoch.pass;
    if (!epoch.spec.custom_loss) {
        const LossArgs<T> loss = network_.loss_args();
        team.share_range(count, [&](Index begin, Index end, int thread) {
            if (!forward_rows(layers, pass, batch, false, kernels, epoch.watch, thread, begin, end))
                return;
            kernels.head_loss(head_args(loss, pass, batch, thread), begin, end);
            backward_rows(layers, pass, false, kernels, epoch.watch, begin, end);
        });
        return;
    }
    team.share_range(count, [&](Index begin, Index end, int thread) {
        forward_rows(layers, pass, batch, true, kernels, epoch.watch, thread, begin, end);
    });
    if (epoch.watch.stopped())
        return;
    custom_delta(epoch, batch, count);
    if (epoch.failed)
        return;
    team.share_range(count, [&](Index begin, Index end, int thread) {
        kernels.head_delta(head_only_args(layers, pass, thread), begin, end);
        backward_rows(layers, pass, false, kernels, epoch.watch, begin, end);
    });
}

template <class T> void TrainerOf<T>::custom_delta(Epoch &epoch, const Batch<T> &batch, Index count) {
    const Pass<T> &pass = epoch.pass;
    const Index n_out = network_.layers().back().n_out;
    lines_to_rows<T>(pass.output.back(), pass.stride, count, n_out, epoch.output.data());
    for (Index r = 0; r < count; ++r)
        epoch.row_numbers[static_cast<std::size_t>(r)] = batch.order ? batch.order[r] : batch.first_row + r;
    if (!epoch.spec.custom_loss(epoch.spec.context, epoch.output.data(), epoch.row_numbers.data(), count,
                                epoch.loss_gradient.data(), pass.row_loss)) {
        epoch.failed = true;
        return;
    }
    for (Index r = 0; r < count; ++r) {
        const double *weight = batch.targets.sample_weight;
        const double scale =
            batch.weight_scale * (weight ? weight[epoch.row_numbers[static_cast<std::size_t>(r)]] : 1.0);
        for (Index c = 0; c < n_out; ++c)
            if (T &slot = epoch.loss_gradient[static_cast<std::size_t>(r * n_out + c)]; scale == 0.0)
                slot = T(0); // also where it is no number
            else
                slot *= static_cast<T>(scale);
    }
    const RowsView view{epoch.loss_gradient.data(),
                        sizeof(T) == 4 ? Scalar::float32 : Scalar::float64,
                        count,
                        n_out,
                        n_out,
                        1};
    rows_to_lines<T>(view, pass.delta.back(), pass.stride);
}

// Phase 2, by tiles of the weights: the weight gradient and, with the last piece of a batch, the update. A
// stop comes before an update or after it.
template <class T>
bool TrainerOf<T>::phase_weights(Epoch &epoch, Index count, bool first, bool last,
                                 const OptimizerStep<T> &step, Team &team) {
    const bool update = last && !epoch.stored;
    epoch.units.share(team, [&](const UnitChunks::Piece &piece) {
        const Layer<T> &layer = network_.layers()[piece.l - 1];
        const LayerState<T> &state = states_[piece.l - 1];
        WeightArgs<T> args = weight_args(layer, epoch.pass, piece.l, count);
        args.accumulate = !first;
        args.store = !update;
        if (update) {
            args.step = &step;
            args.state[0] = state.state[0];
            args.state[1] = state.state[1];
            args.transposed = piece.l > 1 ? layer.transposed : nullptr;
            args.penalty = has_penalty() ? state.penalty : nullptr;
            network_.kernels().weights(args, piece.begin, piece.end);
            return;
        }
        epoch.watch.run(piece.begin, piece.end, unit_work<T>(count),
                        [&](Index begin, Index end) { network_.kernels().weights(args, begin, end); });
    });
    if (!update && epoch.watch.stopped())
        return false;
    if (last && !update)
        clip_and_update(epoch, step, team);
    if (last && spec_.max_norm > 0.0)
        limit_norms(epoch, team);
    return true;
}

// The Euclidean norm of all weight gradients times `factor`.
template <class T> double TrainerOf<T>::gradient_norm(Epoch &epoch, double factor, Team &team) {
    constexpr Index kLane = kLineLength<T>;
    epoch.units.share(team, [&](const UnitChunks::Piece &piece) {
        const Layer<T> &layer = network_.layers()[piece.l - 1];
        const Index columns = line_count<T>(layer.n_in);
        for (Index unit = piece.begin; unit < piece.end; ++unit) {
            const Index line = unit / columns;
            const Index first = unit % columns * kLane;
            const Index rows = unit % columns == columns - 1 ? layer.n_in + 1 - first : kLane;
            const Index lanes = std::min(kLane, layer.n_out - line * kLane);
            double sum = 0.0;
            for (Index i = 0; i < rows; ++i)
                for (Index j = 0; j < lanes; ++j) {
                    const double g =
                        factor *
                        static_cast<double>(layer.gradient[line * layer.panel() + (first + i) * kLane + j]);
                    sum += g * g;
                }
            states_[piece.l - 1].squared_norm[unit] = sum;
        }
    });
    double squares = 0.0;
    for (std::size_t i = 0; i < states_.size(); ++i)
        for (Index unit = 0; unit < network_.layers()[i].units(); ++unit)
            squares += states_[i].squared_norm[unit];
    return std::sqrt(squares);
}

// What brings the norm down to the limit.
template <class T> T TrainerOf<T>::clipping_factor(Epoch &epoch, Team &team) {
    double factor = 1.0;
    double norm = gradient_norm(epoch, factor, team);
    if (std::isinf(norm)) { // the squares are too large
        factor = 0x1p-600;
        norm = gradient_norm(epoch, factor, team);
    }
    const double limit = spec_.clip_norm * factor;
    return static_cast<T>(norm > limit ? limit / norm : 1.0);
}

template <class T>
void TrainerOf<T>::clip_and_update(Epoch &epoch, const OptimizerStep<T> &step, Team &team) {
    const T scale = spec_.clip_norm > 0.0 ? clipping_factor(epoch, team) : T(1);
    epoch.units.share(team, [&](const UnitChunks::Piece &piece) {
        const Layer<T> &layer = network_.layers()[piece.l - 1];
        const LayerState<T> &state = states_[piece.l - 1];
        WeightArgs<T> args = refresh_args(layer, state, piece.l);
        args.gradient = layer.gradient;
        args.accumulate = true;
        args.gradient_scale = scale;
        args.step = &step;
        args.state[0] = state.state[0];
        args.state[1] = state.state[1];
        network_.kernels().weights(args, piece.begin, piece.end);
    });
}

// Scales the weights into each unit whose norm is too large (Srivastava et al. 2014, section 5.1).
template <class T> void TrainerOf<T>::limit_norms(Epoch &epoch, Team &team) {
    constexpr Index kLane = kLineLength<T>;
    for (Layer<T> &layer : network_.layers()) {
        team.share(line_count<T>(layer.n_out), [&](Index line, int) {
            T *weights = layer.weights + line * layer.panel();
            for (Index j = 0; j < std::min(kLane, layer.n_out - line * kLane); ++j) {
                double sum = 0.0;
                for (Index i = 0; i < layer.n_in; ++i)
                    sum += static_cast<double>(weights[i * kLane + j]) *
                           static_cast<double>(weights[i * kLane + j]);
                const double norm = std::sqrt(sum);
                if (norm > spec_.max_norm)
                    for (Index i = 0; i < layer.n_in; ++i)
                        weights[i * kLane + j] *= static_cast<T>(spec_.max_norm / norm);
            }
        });
    }
    epoch.units.share(team, [&](const UnitChunks::Piece &piece) {
        network_.kernels().weights(
            refresh_args(network_.layers()[piece.l - 1], states_[piece.l - 1], piece.l), piece.begin,
            piece.end);
    });
}

template <class T> void TrainerOf<T>::run(Epoch &epoch, Team &team) {
    const EpochSpec &spec = epoch.spec;
    if (has_penalty()) {
        epoch.units.share(team, [&](const UnitChunks::Piece &piece) {
            WeightArgs<T> args = refresh_args(network_.layers()[piece.l - 1], states_[piece.l - 1], piece.l);
            args.transposed = nullptr;
            network_.kernels().weights(args, piece.begin, piece.end);
        });
    }
    StepNumbers<T> numbers(spec_, steps_);
    // After some 20 us of work a look at the clock takes nothing; a custom loss takes its own time.
    constexpr double kWorkBetweenQuestions = 1 << 20;
    const double work = network_.work() * static_cast<double>(3 * spec.batch_size);
    const Index steps_between_questions = work < kWorkBetweenQuestions && !spec.custom_loss
                                              ? static_cast<Index>(kWorkBetweenQuestions / work)
                                              : 1;
    for (Index s = 0; s < epoch.n_steps; ++s) {
        const Index batch_begin = s * spec.batch_size;
        const Index batch_rows = std::min(spec.batch_size, spec.n_order - batch_begin);
        double weight = static_cast<double>(batch_rows);
        if (const double *sample_weight = epoch.targets.sample_weight) {
            weight = 0.0;
            for (Index r = batch_begin; r < batch_begin + batch_rows; ++r)
                weight += sample_weight[spec.order ? spec.order[r] : r];
        }
        // A batch without weight has no gradient of its own; the optimizer steps on.
        const bool counts = weight >= std::numeric_limits<double>::min();
        const double scale = counts ? 1.0 / weight : 0.0;
        const OptimizerStep<T> &step = numbers.next(spec.learning_rates[s], counts ? weight : 1.0);
        const double penalty = has_penalty() ? penalty_sum() * scale : 0.0;
        const Index piece = epoch.pass.rows;
        for (Index done = 0; done < batch_rows; done += piece) {
            const Index count = std::min(piece, batch_rows - done);
            const Index first = batch_begin + done;
            const Batch<T> batch{&spec.rows,
                                 epoch.targets,
                                 spec.order ? spec.order + first : nullptr,
                                 first,
                                 done,
                                 scale,
                                 mix_bits(seed_ + static_cast<std::uint64_t>(steps_ + s))};
            phase_rows(epoch, batch, count, team);
            if (epoch.failed || epoch.watch.stopped())
                return;
            const bool last = done + count == batch_rows;
            epoch.batch_loss += weighted_loss(epoch.pass.row_loss, batch, count);
            if (!phase_weights(epoch, count, done == 0, last, step, team))
                return;
            if (last) {
                epoch.loss += (epoch.batch_loss * scale + penalty) * static_cast<double>(batch_rows);
                epoch.rows_done += counts ? batch_rows : 0;
                epoch.batch_loss = 0.0;
                epoch.steps_done = s + 1;
            }
            if (s % steps_between_questions == 0 && epoch.watch.ask())
                return;
        }
    }
}

template <class T> void TrainerOf<T>::check_epoch(const EpochSpec &spec) const {
    if (spec.rows.n_columns != network_.width(0))
        throw std::invalid_argument("X must have " + std::to_string(network_.width(0)) + " columns, got " +
                                    std::to_string(spec.rows.n_columns));
    if (spec.n_order < 1 || (!spec.order && spec.n_order > spec.rows.n_rows))
        throw std::invalid_argument("an epoch needs at least one row, and no more than X has");
    if (spec.batch_size < 1)
        throw std::invalid_argument("batch_size must be positive, got " + std::to_string(spec.batch_size));
    if (!spec.learning_rates)
        throw std::invalid_argument("an epoch needs a learning rate for each step");
    if ((network_.spec().loss.loss == Loss::custom) != (spec.custom_loss != nullptr))
        throw std::invalid_argument("a custom loss, and only that, needs its function");
    if (spec.order)
        for (Index i = 0; i < spec.n_order; ++i)
            if (spec.order[i] < 0 || spec.order[i] >= spec.rows.n_rows)
                throw std::invalid_argument("order names row " + std::to_string(spec.order[i]) + ", X has " +
                                            std::to_string(spec.rows.n_rows));
}

template <class T> EpochResult TrainerOf<T>::epoch(const EpochSpec &given) {
    check_epoch(given);
    EpochSpec spec = given;
    spec.batch_size = std::min(spec.batch_size, spec.n_order);
    const TargetsView<T> targets = network_.check_targets(spec.targets, spec.rows.n_rows);
    // A custom loss sees its batch whole.
    const Index piece = spec.custom_loss ? spec.batch_size : std::min(spec.batch_size, kPieceRows);
    const int threads = network_.choose_threads(spec.n_threads, spec.n_order, piece, 3.0);
    network_.need_transposed(false);
    // Some 0.1 s, for which Ctrl-C would have to wait.
    constexpr double kLongUpdate = 6e9;
    const bool stored =
        spec_.clip_norm > 0.0 || network_.work() * static_cast<double>(piece) > kLongUpdate * threads;
    if (spec.batch_size > piece || stored)
        network_.borrow_gradients();
    network_.weights_change();
    if (!pass_ || pass_->rows != piece || static_cast<int>(pass_->scratch.size()) < threads) {
        PassOptions options;
        options.training = true;
        pass_ = std::make_unique<Pass<T>>(network_.layers(), piece, threads, options);
    }
    const UnitChunks units(network_.layers(), threads);
    Epoch epoch{spec, targets, (spec.n_order + spec.batch_size - 1) / spec.batch_size, *pass_, units, {},
                {},   {}};
    epoch.stored = stored;
    if (spec.custom_loss) {
        const std::size_t count = static_cast<std::size_t>(piece * network_.layers().back().n_out);
        epoch.output.resize(count);
        epoch.loss_gradient.resize(count);
        epoch.row_numbers.resize(static_cast<std::size_t>(piece));
    }
    run_team(threads, [&](Team &team) { run(epoch, team); });
    network_.layers()[0].transposed_is_current = false;
    steps_ += epoch.steps_done;
    return {epoch.loss / static_cast<double>(std::max<Index>(epoch.rows_done, 1)), epoch.steps_done,
            epoch.failed || epoch.watch.stopped()};
}

} // namespace

std::unique_ptr<Trainer> make_trainer(Network &network, const OptimizerSpec &spec, std::uint64_t seed) {
    if (auto *single = dynamic_cast<NetworkOf<float> *>(&network))
        return std::make_unique<TrainerOf<float>>(*single, spec, seed);
    if (auto *twice = dynamic_cast<NetworkOf<double> *>(&network))
        return std::make_unique<TrainerOf<double>>(*twice, spec, seed);
    throw std::invalid_argument("this network was not made by make_network");
}

} // namespace densegrad
