// The CUDA kernels for losses with groups on the model of CUDA's execution, against a definition by sorting, on random
// cases.
//
//     group_cases CASES SEED   prints the number of cases; exit code 1 and the first case that differs, if there is one
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../../csrc/cuda/groups.h"
#include "../../native/definition.h"
#include "device_memory.h"
#include "machine.h"

using namespace rrm;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

// Small cases under ThreadSanitizer, where starting a thread of the model takes long.
#ifdef __SANITIZE_THREAD__
constexpr bool small_only = true;
#else
constexpr bool small_only = false;
#endif

int pick(Random &random, std::int64_t count) {
    return static_cast<int>(random() % static_cast<std::uint64_t>(count));
}

// Losses with groups, and the losses of each group that are not NaN in ascending order.
template <class F> struct Case {
    using Bits = typename F::Bits;

    std::int64_t n, n_groups;
    int family;
    std::vector<Bits> losses;
    std::vector<std::int32_t> groups;
    std::vector<std::vector<double>> numbers;
    std::vector<std::int64_t> sizes;
    cuda::LaunchConfig config{};

    explicit Case(Random &random) {
        constexpr std::int64_t group_counts[] = {1, 2, 10, 100, 257, 1000};
        n = 1 + pick(random, !small_only && pick(random, 4) == 0 ? 2500 : 300);
        n_groups = !small_only && pick(random, 60) == 0 ? 65'537 : group_counts[pick(random, small_only ? 4 : 6)];
        family = pick(random, families);
        const bool has_neg_inf = pick(random, 10) == 0;
        const bool is_skewed = pick(random, 3) == 0;
        numbers.resize(static_cast<std::size_t>(n_groups));
        sizes.resize(numbers.size());
        for (std::int64_t i = 0; i < n; ++i) {
            Bits bits = round_to<F>(draw_loss(family, i, n, 1 - F::bias - F::mantissa, random));
            if (has_neg_inf && pick(random, 20) == 0) {
                bits = F::infinity | F::sign;
            }
            const auto group = is_skewed && pick(random, 5) != 0 ? n_groups / 2 : pick(random, n_groups);
            losses.push_back(bits);
            groups.push_back(static_cast<std::int32_t>(group));
            ++sizes[static_cast<std::size_t>(group)];
            if (const double value = F::value(bits); !std::isnan(value)) {
                numbers[static_cast<std::size_t>(group)].push_back(value + 0.0);
            }
        }
        for (auto &of_group : numbers) {
            std::sort(of_group.begin(), of_group.end());
        }
        config.threads = 32 * (1 + pick(random, small_only ? 2 : 4));
        config.blocks = 1 + pick(random, small_only ? 2 : 4);
        const bool widest = !small_only && pick(random, 8) == 0;
        config.sort_digit_bits = widest ? cuda::max_sort_digit_bits : small_only ? 4 : 1 + pick(random, 5);
    }
};

bool same(double a, double b) {
    return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

// Whether the statistics of a group are those of `value`, or of no loss if it is NaN.
bool are_statistics_of(double value, const std::vector<double> &numbers, double found, std::int64_t n_below,
                       std::int64_t n_equal) {
    const auto first = std::lower_bound(numbers.begin(), numbers.end(), value);
    const auto last = std::upper_bound(first, numbers.end(), value);
    const bool is_none = std::isnan(value);
    return same(found, value) && n_below == (is_none ? 0 : first - numbers.begin()) &&
           n_equal == (is_none ? 0 : last - first);
}

template <class F> bool scan_is_right(const Case<F> &c, const std::int64_t *scan) {
    NonFiniteCounts expected;
    for (std::int64_t i = 0; i < c.n; ++i) {
        const auto key = F::key(c.losses[static_cast<std::size_t>(i)]);
        if (key == F::key_nan) {
            expected.first_nan = expected.n_nan++ == 0 ? i : expected.first_nan;
        } else if (key == F::key_neg_inf) {
            expected.first_neg_inf = expected.n_neg_inf++ == 0 ? i : expected.first_neg_inf;
        }
    }
    bool right = scan[0] == expected.n_nan && scan[1] == expected.first_nan && scan[2] == expected.n_neg_inf &&
                 scan[3] == expected.first_neg_inf;
    const std::int64_t *begins = scan + 4, *sizes = begins + c.n_groups, *n_numbers = sizes + c.n_groups;
    const std::int64_t *minima = n_numbers + c.n_groups, *n_minima = minima + c.n_groups;
    std::int64_t begin = 0;
    for (std::int64_t g = 0; g < c.n_groups; ++g) {
        const auto &numbers = c.numbers[static_cast<std::size_t>(g)];
        const std::int64_t size = c.sizes[static_cast<std::size_t>(g)];
        const double minimum = !numbers.empty() ? numbers[0] : size > 0 ? infinity : nan_value;
        right = right && begins[g] == begin && sizes[g] == size &&
                n_numbers[g] == static_cast<std::int64_t>(numbers.size()) &&
                same(std::bit_cast<double>(minima[g]), minimum) &&
                n_minima[g] == std::count(numbers.begin(), numbers.end(), minimum);
        begin += size;
    }
    return right;
}

// Asks for random ranks, or for random losses and numbers between them.
template <class F> bool statistics_are_right(Random &random, const Case<F> &c, bool by_rank, void *workspace) {
    const cuda::GroupBuffers buffers = cuda::group_buffers<F>(workspace, c.n, c.n_groups, c.config);
    std::vector<double> expected;
    for (std::int64_t g = 0; g < c.n_groups; ++g) {
        const auto &numbers = c.numbers[static_cast<std::size_t>(g)];
        const auto n_numbers = static_cast<std::int64_t>(numbers.size());
        if (by_rank) {
            const std::int64_t rank = pick(random, c.sizes[static_cast<std::size_t>(g)] + 2);
            static_cast<std::int64_t *>(buffers.query)[g] = rank;
            const bool is_none = rank == 0 || n_numbers == 0;
            expected.push_back(is_none ? nan_value : numbers[static_cast<std::size_t>(std::min(rank, n_numbers) - 1)]);
        } else {
            double value = n_numbers == 0 ? nan_value : numbers[static_cast<std::size_t>(pick(random, n_numbers))];
            if (n_numbers != 0 && pick(random, 4) == 0) {
                value = pick(random, 2) == 0 ? infinity : F::decode(F::key_not_above(4.0 * uniform(random) - 1.0));
            }
            static_cast<double *>(buffers.query)[g] = value;
            expected.push_back(value);
        }
    }
    if (cuda::find_in_groups<F>(by_rank, c.n, c.n_groups, workspace, c.config, nullptr) != 0) {
        return false;
    }
    const double *values = buffers.statistics;
    const auto *n_below = reinterpret_cast<const std::int64_t *>(values + c.n_groups);
    bool right = true;
    for (std::int64_t g = 0; g < c.n_groups; ++g) {
        const auto at = static_cast<std::size_t>(g);
        right = right && are_statistics_of(expected[at], c.numbers[at], values[g], n_below[g], n_below[c.n_groups + g]);
    }
    return right;
}

// A plan with random thresholds and levels, as the kernels get it.
template <class F> std::vector<double> random_plan(Random &random, const Case<F> &c) {
    const auto n_groups = static_cast<std::size_t>(c.n_groups);
    std::vector<double> plan(7 * n_groups, nan_value);
    for (std::size_t g = 0; g < n_groups; ++g) {
        if (const auto &numbers = c.numbers[g]; !numbers.empty()) {
            const int rank = pick(random, static_cast<std::int64_t>(numbers.size()));
            plan[g] = numbers[static_cast<std::size_t>(rank)];
            plan[n_groups + g] =
                pick(random, 4) == 0 ? -infinity : numbers[static_cast<std::size_t>(pick(random, rank + 1))];
        }
        plan[2 * n_groups + 5 * g] = 0;
        for (std::size_t level = 1; level < 5; ++level) {
            plan[2 * n_groups + 5 * g + level] = uniform(random) * 2;
        }
    }
    return plan;
}

template <class F>
typename F::Weight new_weight(const Case<F> &c, std::size_t i, const std::vector<double> &plan, double mu,
                              typename F::Weight old) {
    using W = typename F::Weight;
    const auto n_groups = static_cast<std::size_t>(c.n_groups), group = static_cast<std::size_t>(c.groups[i]);
    const double loss = F::value(c.losses[i]), threshold = plan[group];
    const double *levels = plan.data() + 2 * n_groups + 5 * group;
    const bool is_recipient = loss <= plan[n_groups + group];
    const double target = loss < threshold    ? levels[is_recipient ? 4 : 2]
                          : loss == threshold ? levels[is_recipient ? 3 : 1]
                                              : levels[0];
    const W new_part = static_cast<W>(mu) * static_cast<W>(target);
    return mu == 1 ? new_part : static_cast<W>(1.0 - mu) * old + new_part;
}

template <class F>
bool weights_are_right(Random &random, const Case<F> &c, const typename F::Bits *losses, const std::int32_t *groups) {
    using W = typename F::Weight;
    const double mu = pick(random, 2) == 0 ? 1.0 : 0.3;
    const bool reads = pick(random, 2) == 0, in_place = reads && pick(random, 2) == 0;
    std::vector<W> old(c.losses.size(), W{1});
    InvalidWeights expected_invalid;
    if (reads) {
        for (auto &weight : old) {
            weight = static_cast<W>(uniform(random));
        }
        if (mu != 1 && pick(random, 3) == 0) {
            expected_invalid = draw_invalid_weights(random, old);
        }
    }
    const auto plan = random_plan(random, c);
    Memory<unsigned char> workspace(static_cast<std::int64_t>(cuda::group_write_bytes<F>(c.n_groups)), 0, true);
    const auto buffers = cuda::group_write_buffers<F>(workspace.data, c.n_groups);
    std::memcpy(buffers.plan, plan.data(), plan.size() * sizeof(double));
    Memory<W> device_old(old, pick(random, 3), in_place), device_new(c.n, pick(random, 3), true);
    Memory<W> &out = in_place ? device_old : device_new;
    const bool out_is_new = !in_place && pick(random, 2) == 0;
    const cuda::Weights<F> weights{reads ? device_old.data : nullptr, out.data, mu, out_is_new};
    if (cuda::write_groups<F>(losses, groups, c.n, c.n_groups, weights, buffers, c.config, nullptr) != 0 ||
        (reads && mu != 1 && !rrm::same(buffers.outcome->invalid_weights, expected_invalid))) {
        return false;
    }
    std::vector<W> expected;
    for (std::size_t i = 0; i < c.losses.size(); ++i) {
        expected.push_back(new_weight(c, i, plan, mu, old[i]));
    }
    if (expected_invalid.n == 0) {
        return out.equals(expected);
    }
    return !out_is_new || out.equals(std::vector<W>(expected.size(), std::numeric_limits<W>::quiet_NaN()));
}

template <class F>
bool foreign_count_is_right(Random &random, const Case<F> &c, const typename F::Bits *losses,
                            const std::int32_t *groups) {
    std::vector<double> minima, n_nan;
    for (const auto &numbers : c.numbers) {
        const auto n_numbers = static_cast<std::int64_t>(numbers.size());
        minima.push_back(n_numbers == 0 ? nan_value : numbers[static_cast<std::size_t>(pick(random, n_numbers))]);
        n_nan.push_back(pick(random, 2));
    }
    std::int64_t expected = 0;
    for (std::size_t i = 0; i < c.losses.size(); ++i) {
        const auto group = static_cast<std::size_t>(c.groups[i]);
        const double loss = F::value(c.losses[i]);
        expected += loss >= minima[group] || (std::isnan(loss) && n_nan[group] != 0) ? 0 : 1;
    }
    const Memory<double> device_minima(minima, 0, false), device_n_nan(n_nan, 0, false);
    Memory<cuda::Count> counted(1, 0, true);
    return cuda::count_foreign_in_groups<F>(losses, groups, c.n, device_minima.data, device_n_nan.data, counted.data,
                                            c.config, nullptr) == 0 &&
           *counted.data == static_cast<cuda::Count>(expected);
}

template <class F> bool try_one(Random &random, std::string &description) {
    const Case<F> c(random);
    const model::Schedule schedule{random(), static_cast<unsigned>(1 + pick(random, 4)),
                                   static_cast<unsigned>(pick(random, 8))};
    description = std::to_string(F::width) + " bits, n " + std::to_string(c.n) + ", n_groups " +
                  std::to_string(c.n_groups) + ", family " + std::to_string(c.family) + ", threads " +
                  std::to_string(c.config.threads) + ", blocks " + std::to_string(c.config.blocks) + ", digit bits " +
                  std::to_string(c.config.sort_digit_bits) + ": ";
    model::configure(schedule);
    model::unregister_memory();
    const Memory<typename F::Bits> losses(c.losses, pick(random, 3), false);
    const Memory<std::int32_t> groups(c.groups, pick(random, 3), false);
    const auto size = static_cast<std::int64_t>(cuda::group_workspace_bytes<F>(c.n, c.n_groups, c.config));
    Memory<unsigned char> workspace(size, 0, true);
    const auto is_right = [&](const char *what, bool right) {
        description += right ? "" : what;
        return right;
    };
    if (cuda::sort_groups<F>(losses.data, groups.data, c.n, c.n_groups, workspace.data, c.config, nullptr) != 0) {
        return is_right("launch", false);
    }
    const cuda::GroupBuffers buffers = cuda::group_buffers<F>(workspace.data, c.n, c.n_groups, c.config);
    return is_right("scan", scan_is_right(c, buffers.scan)) &&
           is_right("ranks", statistics_are_right(random, c, true, workspace.data)) &&
           is_right("values", statistics_are_right(random, c, false, workspace.data)) &&
           is_right("weights", weights_are_right(random, c, losses.data, groups.data)) &&
           is_right("foreign", foreign_count_is_right(random, c, losses.data, groups.data));
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fputs("usage: group_cases CASES SEED\n", stderr);
        return 2;
    }
    const int cases = std::atoi(argv[1]);
    Random random(static_cast<std::uint64_t>(std::atoll(argv[2])));
    for (int i = 0; i < cases; ++i) {
        std::string description;
        const bool right = i % 4 == 0   ? try_one<Float16>(random, description)
                           : i % 4 == 1 ? try_one<BFloat16>(random, description)
                           : i % 4 == 2 ? try_one<Float32>(random, description)
                                        : try_one<Float64>(random, description);
        if (!right) {
            std::printf("case %d differs: %s\n", i, description.c_str());
            return 1;
        }
    }
    std::printf("%d cases\n", cases);
    return 0;
}
