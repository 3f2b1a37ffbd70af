#include "densegrad/lbfgs.hpp"

#include "lbfgs_memory.hpp"
#include "leaves.hpp"
#include "line_search.hpp"
#include "lines.hpp"
#include "network_of.hpp"
#include "passes.hpp"
#include "stop_watch.hpp"
#include "sums.hpp"
#include "updates.hpp"
#include "vectors.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace densegrad {
namespace {

constexpr Index kLine = kLanes<double>;
constexpr double kUnknown = std::numeric_limits<double>::infinity();

// A panel of weights lies among all lines of a network.
struct Panel {
    Index first, inputs; // lines; one more, of the biases, follows the inputs
    Index lanes;         // that are no padding
};

// Weights and gradient are the network's own buffers. The layers follow each other without a gap, so all of
// them are one vector. Padding lanes are kept at zero, so that sums over whole lines leave them out. Frozen
// layers have a gradient of zero, and so a direction of zero.
class LbfgsOf final : public Lbfgs {
  public:
    explicit LbfgsOf(NetworkOf<double> &network)
        : network_(network), lines_(count_lines(network)), math_(lines_, network.kernels()), memory_(lines_),
          weights_before_(lines_, 1) {
        Index first = 0;
        for (const Layer<double> &layer : network.layers())
            for (Index unit = 0; unit < layer.n_out; unit += kLine, first += layer.rows())
                (layer.trainable ? panels_ : frozen_)
                    .push_back({first, layer.weights_in(), std::min(kLine, layer.n_out - unit)});
    }

    LbfgsResult minimise(const LbfgsSpec &spec) override;

    int pairs() const override {
        const Read read(network_.caller_lock());
        return memory_.size();
    }

    bool begun() const override {
        const Read read(network_.caller_lock());
        return begun_;
    }

    void get_state(double *steps, double *differences, double *curvatures) const override {
        const Read read(network_.caller_lock());
        for (int i = 0; i < memory_.size(); ++i) {
            const Index at = i * network_.n_parameters();
            network_.lines_to_parameters(memory_.step(i), steps + at);
            network_.lines_to_parameters(memory_.difference(i), differences + at);
            curvatures[i] = memory_.curvature(i);
        }
    }

    void set_state(bool begun, int pairs, const double *steps, const double *differences,
                   const double *curvatures) override {
        if (pairs < 0 || pairs > LbfgsMemory::kPairs)
            throw std::invalid_argument("L-BFGS remembers up to " + std::to_string(LbfgsMemory::kPairs) +
                                        " pairs, got " + std::to_string(pairs));
        const Change change(network_.caller_lock());
        memory_.clear();
        begun_ = begun;
        left_at_ = -1;
        Team alone(0);
        for (int i = 0; i < pairs; ++i) {
            const Index at = i * network_.n_parameters();
            network_.parameters_to_lines(steps + at, memory_.next_step());
            network_.parameters_to_lines(differences + at, memory_.next_difference());
            memory_.add(curvatures[i]);
            memory_.find_products(math_, alone);
        }
    }

  private:
    struct Problem; // one call of minimise()

    static Index count_lines(NetworkOf<double> &network) {
        Index count = 0;
        for (const Layer<double> &layer : network.layers())
            count += layer.weight_count() / kLine;
        return count;
    }

    double *weights() { return network_.layers()[0].weights; }
    double *gradient() { return network_.layers()[0].gradient; }
    void clear_padding(double *vector) const;
    void clear_frozen(double *vector) const;
    double add_penalty(double factor, Team &team);
    bool sum_shards(Problem &problem, Team &team);
    bool evaluate(Problem &problem, Team &team);
    bool search(Problem &problem, const Direction &found, Team &team);
    void remember(const Problem &problem, Team &team);
    LbfgsEnd run(Problem &problem, Team &team);

    NetworkOf<double> &network_;
    Index lines_;
    VectorMath math_;
    LbfgsMemory memory_;
    VectorSet weights_before_;           // where the line search begins
    std::unique_ptr<VectorSet> sums_;    // of shards, as LeafPlan says; none without shards
    std::vector<Panel> panels_, frozen_; // of trainable layers and of others
    std::unique_ptr<Pass<double>> pass_; // none yet, or with a custom loss, which keeps its own
    bool begun_ = false;                 // the first step, which is as long as 1, has been made
    // Of the last call: the loss whose gradient is in gradient(), and the count of the network's changes
    // after it; -1: they are not known.
    double loss_ = 0.0;
    std::int64_t left_at_ = -1;
};

struct LbfgsOf::Problem {
    const LbfgsSpec &spec;
    double weight;            // sum of the sample weights
    const Pass<double> *pass; // null: a custom loss
    const SharedBlocks &blocks;
    const LeafPlan &plan; // of one leaf at a time
    double penalty = spec.l2 / weight;
    std::vector<double> node_losses = std::vector<double>(plan.nodes.size()); // of the last evaluation
    // These are of the last iteration.
    double loss = kUnknown, loss_before = kUnknown;
    double slope = 0.0, slope_before = 0.0; // of the loss along the direction
    double step = 0.0;
    Index iterations = 0, evaluations = 0;
    bool asked = false; // to stop
    StopWatch watch{spec.stop};
};

void LbfgsOf::clear_padding(double *vector) const {
    for (const Panel &panel : panels_)
        for (Index i = panel.first; panel.lanes < kLine && i <= panel.first + panel.inputs; ++i)
            std::fill(vector + i * kLine + panel.lanes, vector + (i + 1) * kLine, 0.0);
}

void LbfgsOf::clear_frozen(double *vector) const {
    for (const Panel &panel : frozen_)
        std::fill(vector + panel.first * kLine, vector + (panel.first + panel.inputs + 1) * kLine, 0.0);
}

// Adds factor * w to the gradient of every weight but the biases; returns the sum of their w^2.
double LbfgsOf::add_penalty(double factor, Team &team) {
    std::vector<double> squares(panels_.size());
    const double *const vectors[] = {gradient(), weights()};
    const double factors[] = {1.0, factor};
    team.share(static_cast<Index>(panels_.size()), [&](Index i, int) {
        const Panel &panel = panels_[static_cast<std::size_t>(i)];
        network_.kernels().combine({vectors, factors, 2, gradient()}, panel.first,
                                   panel.first + panel.inputs);
        network_.kernels().products(
            {vectors + 1, 1, {weights(), nullptr}, &squares[static_cast<std::size_t>(i)]}, panel.first,
            panel.first + panel.inputs);
    });
    double sum = 0.0;
    for (const double square : squares)
        sum += square;
    return sum;
}

// Sums loss and gradient over the shards in the order of their tree: each leaf in gradient(), then what is
// stored of the leaves before it. Returns false if it is to end.
bool LbfgsOf::sum_shards(Problem &problem, Team &team) {
    const LbfgsSpec &spec = problem.spec;
    const Shards &shards = spec.shards;
    VectorSet &sums = *sums_;
    std::vector<double> leaf_losses;
    Index begin = 0;
    for (const Piece &piece : problem.plan.pieces) {
        const Index end = shards.ends[piece.begin];
        leaf_losses.push_back(network_.sum_loss_and_gradient(spec.rows, spec.targets, begin, end,
                                                             problem.weight, *problem.pass, problem.blocks,
                                                             problem.watch, team));
        for (Index i = piece.n_merges - 1; i >= 0; --i)
            math_.combine({sums[static_cast<std::size_t>(piece.buffer + i)], gradient()}, {1.0, 1.0},
                          gradient(), team);
        math_.combine({gradient()}, {1.0}, sums[static_cast<std::size_t>(piece.buffer)], team);
        begin = end;
    }
    sum_nodes(problem.plan, leaf_losses, shards.first, problem.node_losses);
    bool goes_on = !problem.watch.stopped();
    if (shards.exchange) {
        std::vector<void *> partials;
        partials.reserve(problem.plan.nodes.size());
        for (std::size_t i = 0; i < problem.plan.nodes.size(); ++i)
            partials.push_back(sums[i]);
        goes_on = shards.exchange(shards.context, !goes_on, problem.node_losses.data(), partials.data(),
                                  static_cast<std::int64_t>(partials.size()), lines_ * kLine);
        math_.combine({sums[0]}, {1.0}, gradient(), team);
    }
    problem.loss = problem.node_losses[0] / problem.weight;
    return goes_on;
}

// Computes loss and gradient at the network's weights. Returns false if it was asked to stop on the way.
bool LbfgsOf::evaluate(Problem &problem, Team &team) {
    const LbfgsSpec &spec = problem.spec;
    if (!problem.pass) {
        const std::optional<double> loss =
            network_.custom_loss_and_gradient(spec.rows, spec.n_threads, spec.stop, spec.custom);
        problem.asked = !loss;
        problem.loss = loss.value_or(kUnknown);
    } else {
        network_.refresh_transposed(problem.blocks, team);
        if (spec.shards.ends) {
            problem.asked = !sum_shards(problem, team);
        } else {
            problem.loss =
                network_.sum_loss_and_gradient(spec.rows, spec.targets, 0, spec.rows.n_rows, problem.weight,
                                               *problem.pass, problem.blocks, problem.watch, team) /
                problem.weight;
            problem.asked = problem.watch.stopped();
        }
    }
    if (problem.asked)
        return false;
    ++problem.evaluations;
    clear_padding(gradient());
    clear_frozen(gradient());
    if (problem.penalty > 0.0)
        problem.loss += 0.5 * problem.penalty * add_penalty(problem.penalty, team);
    return true;
}

// Makes one iteration's line search along the direction that was found, which is in memory_.next_step().
// Returns false if it found nothing or was asked to stop. Weights, gradient and loss are then as they were.
bool LbfgsOf::search(Problem &problem, const Direction &found, Team &team) {
    constexpr int kMostTrials = 20; // SciPy's default
    double *const weights_before = weights_before_[0];
    double *const gradient_before = memory_.next_difference();
    const double *const direction = memory_.next_step();
    problem.loss_before = problem.loss;
    problem.slope_before = found.slope;
    // A direction with infinite numbers or NaN is none of descent. The steps along others are finite.
    if (!(found.slope < 0.0) || !std::isfinite(found.square))
        return false;
    const double first = begun_ ? 1.0 : std::min(1.0 / std::sqrt(found.square), LineSearch::kLongest);
    LineSearch line(problem.loss_before, problem.slope_before, first);
    for (int trial = 0; trial < kMostTrials; ++trial) {
        problem.step = line.step();
        math_.for_slices(team, [&](const VectorMath::Slice &slice, Index) {
            if (trial == 0) {
                slice.combine({weights()}, {1.0}, weights_before);
                slice.combine({gradient()}, {1.0}, gradient_before);
            }
            slice.combine({weights_before, direction}, {1.0, problem.step}, weights());
        });
        network_.weights_changed();
        if (!evaluate(problem, team))
            break;
        problem.slope = math_.product(gradient(), direction, team);
        if (!std::isfinite(problem.loss) || !std::isfinite(problem.slope))
            line = LineSearch(problem.loss_before, problem.slope_before, problem.step / 10.0);
        else if (line.has_ended(problem.loss, problem.slope))
            return true;
    }
    math_.combine({weights_before}, {1.0}, weights(), team);
    math_.combine({gradient_before}, {1.0}, gradient(), team);
    network_.weights_changed();
    problem.loss = problem.loss_before;
    return false;
}

// Keeps the last step and the difference of the gradient, if the loss curves upwards along it.
void LbfgsOf::remember(const Problem &problem, Team &team) {
    const double curvature = (problem.slope - problem.slope_before) * problem.step;
    if (curvature <= std::numeric_limits<double>::epsilon() * -problem.slope_before * problem.step)
        return;
    if (problem.step != 1.0)
        math_.combine({memory_.next_step()}, {problem.step}, memory_.next_step(), team);
    double *const difference = memory_.next_difference(); // until here, the gradient before
    math_.combine({gradient(), difference}, {1.0, -1.0}, difference, team);
    memory_.add(curvature);
}

LbfgsEnd LbfgsOf::run(Problem &problem, Team &team) {
    const LbfgsSpec &spec = problem.spec;
    const bool known = spec.continues && left_at_ == network_.caller_lock().changes();
    left_at_ = -1;
    if (known) {
        problem.loss = loss_;
    } else if (!evaluate(problem, team)) {
        problem.loss = kUnknown;
        return LbfgsEnd::asked;
    }
    if (!std::isfinite(problem.loss))
        return LbfgsEnd::line_search;
    const double largest = math_.largest(gradient(), team);
    if (std::isinf(largest)) { // nothing can be minimised from here on
        problem.loss = std::numeric_limits<double>::quiet_NaN();
        return LbfgsEnd::line_search;
    }
    if (largest <= spec.gradient_tolerance)
        return LbfgsEnd::gradient;
    while (problem.iterations < spec.max_iterations) {
        const Direction direction = memory_.find_direction(gradient(), math_, team);
        if (!search(problem, direction, team)) {
            if (problem.asked)
                return LbfgsEnd::asked;
            if (memory_.size() == 0)
                return LbfgsEnd::line_search;
            memory_.clear();
            continue;
        }
        ++problem.iterations;
        begun_ = true;
        remember(problem, team);
        const bool goes_on =
            !spec.after_iteration || spec.after_iteration(spec.context, problem.iterations, problem.loss);
        if (!goes_on)
            return LbfgsEnd::asked;
        if (problem.iterations >= spec.max_iterations)
            return LbfgsEnd::iterations;
        if (problem.evaluations > spec.max_evaluations)
            return LbfgsEnd::evaluations;
        if (math_.largest(gradient(), team) <= spec.gradient_tolerance)
            return LbfgsEnd::gradient;
        const double size = std::max({std::abs(problem.loss_before), std::abs(problem.loss), 1.0});
        if (problem.loss_before - problem.loss <= spec.reduction_tolerance * size)
            return LbfgsEnd::reduction;
    }
    return LbfgsEnd::iterations;
}

LbfgsResult LbfgsOf::minimise(const LbfgsSpec &spec) {
    network_.check_rows(spec.rows);
    network_.check_targets(spec.targets);
    if (spec.rows.n_rows < 1)
        throw std::invalid_argument("a minimisation needs at least one row");
    const bool custom = network_.spec().loss.loss == Loss::custom;
    if (custom != (spec.custom.function != nullptr))
        throw std::invalid_argument("a custom loss, and only that, needs its function");
    if (!(spec.l2 >= 0.0))
        throw std::invalid_argument("l2 must not be negative, got " + std::to_string(spec.l2));
    const Shards &shards = spec.shards;
    check_shards(shards, spec.rows.n_rows);
    if (shards.ends && (custom || shards.n_steps != 1))
        throw std::invalid_argument("L-BFGS takes all shards in one step, and no custom loss with shards");
    for (Index i = 0; shards.ends && i < shards.count; ++i)
        if (shards.ends[i] == (i == 0 ? 0 : shards.ends[i - 1]))
            throw std::invalid_argument("L-BFGS needs rows in each shard");
    const Change change(network_.caller_lock());
    network_.borrow_gradients();
    network_.need_transposed(false);
    network_.weights_changed();
    clear_padding(weights());
    const Index piece = std::min(spec.rows.n_rows, kPieceRows);
    // With a custom loss, the passes bring a team of their own.
    const int threads = custom ? 1
                               : network_.choose_threads(spec.n_threads, 3.0 * network_.work(spec.rows),
                                                         spec.rows.n_rows, piece);
    if (!custom)
        network_.need_pass(pass_, spec.rows, piece, threads);
    const SharedBlocks blocks(network_.layers(), threads);
    const LeafPlan plan(shards.total, shards.first, shards.first + shards.count, 1, false);
    if (shards.ends) {
        sums_ = std::make_unique<VectorSet>(lines_, static_cast<int>(plan.n_buffers));
        for (Index i = 0, begin = 0; i < shards.count; begin = shards.ends[i++])
            reserve_entries(*pass_, spec.rows, begin, shards.ends[i] - begin, piece);
        if (pass_->sparse)
            pass_->sparse->reserve_columns();
    }
    const double weight =
        shards.ends ? shards.batch_weights[0] : total_weight(spec.targets.sample_weight, spec.rows.n_rows);
    Problem problem{.spec = spec,
                    .weight = weight,
                    .pass = custom ? nullptr : pass_.get(),
                    .blocks = blocks,
                    .plan = plan};
    LbfgsResult result;
    run_team(threads, [&](Team &team) { result.end = run(problem, team); });
    if (std::isfinite(problem.loss)) {
        loss_ = problem.loss;
        left_at_ = network_.caller_lock().changes() + 1; // this call's own
    }
    result.loss = problem.loss;
    result.loss_before = problem.loss_before;
    result.iterations = problem.iterations;
    result.evaluations = problem.evaluations;
    return result;
}

} // namespace

template <> std::unique_ptr<Lbfgs> NetworkOf<double>::make_lbfgs() {
    return std::make_unique<LbfgsOf>(*this);
}

template <> std::unique_ptr<Lbfgs> NetworkOf<float>::make_lbfgs() {
    throw std::invalid_argument("L-BFGS needs a network of float64");
}

} // namespace densegrad
