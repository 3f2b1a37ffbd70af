// The line search of Moré and Thuente (ACM Transactions on Mathematical Software 20, 1994) finds a step along
// a direction of descent. After the step the loss has fallen enough and the slope is flat enough.
#pragma once

#include <algorithm>
#include <cmath>

namespace densegrad {

// It has the constants that L-BFGS-B (Zhu, Byrd, Lu, Nocedal 1997) searches with.
class LineSearch {
  public:
    // loss, slope: at step 0, the slope below 0. step: the first one to try.
    LineSearch(double loss, double slope, double step)
        : start_{0.0, loss, slope}, best_(start_), other_(start_), step_(step),
          upper_(step + kFarthest * step) {}

    double step() const { return step_; }

    // Takes loss and slope at step(). Returns true if the search has ended: step() is the one to go. Returns
    // false if step() is the next one to try.
    bool has_ended(double loss, double slope) {
        const double decrease = kDecrease * start_.slope; // of the loss for each unit of step
        const double enough = start_.loss + step_ * decrease;
        if (loss <= enough && slope >= 0.0)
            has_fallen_ = true;
        const bool exhausted =
            bracketed_ && (step_ <= lower_ || step_ >= upper_ || upper_ - lower_ <= kNarrow * upper_);
        const bool longest = step_ == kLongest && loss <= enough && slope <= decrease;
        const bool shortest = step_ == 0.0 && (loss > enough || slope >= decrease);
        const bool good = loss <= enough && std::abs(slope) <= kFlat * -start_.slope;
        if (exhausted || longest || shortest || good)
            return true;

        const Trial trial{step_, loss, slope};
        if (!has_fallen_ && loss <= best_.loss && loss > enough) {
            // The loss has fallen, but not enough. The next step follows from the loss less the decrease that
            // is asked for.
            best_ = best_.less(decrease);
            other_ = other_.less(decrease);
            step_ = next_step(trial.less(decrease));
            best_ = best_.less(-decrease);
            other_ = other_.less(-decrease);
        } else {
            step_ = next_step(trial);
        }
        if (bracketed_) {
            // An interval that hardly shrinks is halved.
            if (std::abs(other_.step - best_.step) >= kShrink * width_before_)
                step_ = best_.step + 0.5 * (other_.step - best_.step);
            width_before_ = width_;
            width_ = std::abs(other_.step - best_.step);
            lower_ = std::min(best_.step, other_.step);
            upper_ = std::max(best_.step, other_.step);
        } else {
            lower_ = step_ + kNearest * (step_ - best_.step);
            upper_ = step_ + kFarthest * (step_ - best_.step);
        }
        step_ = std::clamp(step_, 0.0, kLongest);
        if (bracketed_ && (step_ <= lower_ || step_ >= upper_ || upper_ - lower_ <= kNarrow * upper_))
            step_ = best_.step;
        return false;
    }

    static constexpr double kLongest = 1e10;

  private:
    static constexpr double kDecrease = 1e-3;
    static constexpr double kFlat = 0.9;
    static constexpr double kNarrow = 0.1; // an interval so narrow, relative to its end, is not searched on
    static constexpr double kShrink = 0.66;
    // Without a bracket the next step lies beyond the last, by so many times the way from the best one.
    static constexpr double kNearest = 1.1;
    static constexpr double kFarthest = 4.0;

    struct Trial {
        double step, loss, slope;

        // Gives the trial of the loss minus `decrease` for each unit of step.
        Trial less(double decrease) const { return {step, loss - step * decrease, slope - decrease}; }
    };

    // The minimum of the cubic through losses and slopes of two trials lies at `ratio` of the way from a to
    // b.
    struct Cubic {
        double root, ratio;

        Cubic(const Trial &a, const Trial &b) {
            const double theta = 3.0 * (a.loss - b.loss) / (b.step - a.step) + a.slope + b.slope;
            const double scale = std::max({std::abs(theta), std::abs(a.slope), std::abs(b.slope)});
            const double square = theta / scale * (theta / scale) - a.slope / scale * (b.slope / scale);
            root = scale * std::sqrt(std::max(0.0, square));
            if (b.step < a.step)
                root = -root;
            ratio = (root - a.slope + theta) / (root - a.slope + root + b.slope);
        }
    };

    // Gives the next step, from best_, other_ and the trial. Two of them bracket a minimum once there is a
    // bracket. best_ and other_ follow.
    double next_step(const Trial &trial) {
        const double back = best_.step - trial.step;
        const bool turned = trial.slope * (best_.slope / std::abs(best_.slope)) < 0.0;
        const bool higher = trial.loss > best_.loss;
        double next = 0.0;
        if (higher) {
            const double cubic = best_.step - Cubic(best_, trial).ratio * back;
            const double secant = (best_.loss - trial.loss) / -back + best_.slope;
            const double parabola = best_.step - best_.slope / secant / 2.0 * back;
            next = std::abs(cubic - best_.step) < std::abs(parabola - best_.step)
                       ? cubic
                       : cubic + (parabola - cubic) / 2.0;
            bracketed_ = true;
        } else if (turned) {
            const double cubic = trial.step + Cubic(trial, best_).ratio * back;
            const double secant = trial.step + trial.slope / (trial.slope - best_.slope) * back;
            next = std::abs(cubic - trial.step) > std::abs(secant - trial.step) ? cubic : secant;
            bracketed_ = true;
        } else if (std::abs(trial.slope) < std::abs(best_.slope)) {
            const Cubic curve(trial, best_);
            const double beyond = back < 0.0 ? upper_ : lower_;
            const double cubic =
                curve.ratio < 0.0 && curve.root != 0.0 ? trial.step + curve.ratio * back : beyond;
            const double secant = trial.step + trial.slope / (trial.slope - best_.slope) * back;
            const bool cubic_is_nearer = std::abs(cubic - trial.step) < std::abs(secant - trial.step);
            if (bracketed_) {
                next = cubic_is_nearer ? cubic : secant;
                const double limit = trial.step + kShrink * (other_.step - trial.step);
                next = back < 0.0 ? std::min(limit, next) : std::max(limit, next);
            } else {
                const bool cubic_is_farther = std::abs(cubic - trial.step) > std::abs(secant - trial.step);
                next = std::max(lower_, std::min(upper_, cubic_is_farther ? cubic : secant));
            }
        } else if (bracketed_) {
            next = trial.step + Cubic(trial, other_).ratio * (other_.step - trial.step);
        } else {
            next = back < 0.0 ? upper_ : lower_;
        }
        if (higher) {
            other_ = trial;
        } else {
            if (turned)
                other_ = best_;
            best_ = trial;
        }
        return next;
    }

    Trial start_;
    Trial best_;  // the step of the lowest loss so far
    Trial other_; // the other end of the bracket
    double step_;
    double lower_ = 0.0, upper_; // of the next step
    bool bracketed_ = false;
    bool has_fallen_ = false; // enough, at a step with a rising slope
    double width_ = kLongest, width_before_ = 2.0 * kLongest;
};

} // namespace densegrad
