// The CUDA kernels on the model of CUDA's execution, against a definition by sorting, on random cases.
//
//     kernel_cases CASES SEED [ptx]     runs the kernels' source, or their PTX if it was linked in; prints the
//                                       number of cases; exit code 1 and the first case that differs, if there is one
//     kernel_cases costs FORMAT N RULE  prints launches and bytes of one call with N exponential losses, as JSON
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "../../../csrc/cuda/reweight.h"
#include "../../native/definition.h"
#include "device_memory.h"
#include "machine.h"

using namespace rrm;

namespace {

struct Case {
    std::int64_t n;
    int family;
    Rule rule;
    double mu;
    bool read, in_place, out_is_new;
    cuda::LaunchConfig config;
    model::Schedule schedule;
    std::int64_t offsets[3]; // of losses, old weights and new ones from a multiple of 16 bytes
    bool invalid;            // contains losses that must be rejected
    bool invalid_weights;    // contains old weights that are NaN, infinite or negative

    [[nodiscard]] std::string describe(int width) const {
        char text[500];
        std::snprintf(
            text, sizeof text,
            "%d bits, n %lld, family %d%s, rank %lld, gamma %g, recipient_rank %lld, quota %lld, mu %g, read %d, "
            "in_place %d, out_is_new %d; threads %d, blocks %d, sample_size %d, chunk %d, capacity %lld; seed %llu, "
            "resident "
            "%u, preempt %u; offsets %lld %lld %lld",
            width, static_cast<long long>(n), family,
            invalid           ? " invalid"
            : invalid_weights ? " invalid weights"
                              : "",
            static_cast<long long>(rule.rank), rule.gamma, static_cast<long long>(rule.recipient_rank),
            static_cast<long long>(rule.quota), mu, read, in_place, out_is_new, config.threads, config.blocks,
            config.sample_size, config.chunk, static_cast<long long>(config.capacity),
            static_cast<unsigned long long>(schedule.seed), schedule.resident, schedule.preempt,
            static_cast<long long>(offsets[0]), static_cast<long long>(offsets[1]), static_cast<long long>(offsets[2]));
        return text;
    }
};

Case random_case(Random &random) {
    const auto pick = [&](int count) { return static_cast<int>(random() % static_cast<std::uint64_t>(count)); };
    Case c{};
    c.n = pick(3) == 0 ? 1 + pick(70) : pick(3) == 0 ? 1020 + pick(12) : 1 + pick(3000);
    c.family = pick(families);
    const std::int64_t quota =
        pick(8) == 0 ? 0 : static_cast<std::int64_t>(uniform(random) * static_cast<double>(c.n)) % c.n;
    const bool by_rank = pick(4) != 0;
    const int who = pick(4);
    const std::int64_t recipient_rank = who == 0   ? 1
                                        : who == 1 ? 1 + pick(static_cast<int>(c.n))
                                        : who == 2 ? c.n + 1
                                                   : 0;
    const auto redistribute = who == 2 ? Redistribute::kept : who == 3 ? Redistribute::drop : Redistribute::recipients;
    c.invalid = pick(10) == 0;
    c.rule = {by_rank ? c.n - quota : 0,
              by_rank ? 0.0 : uniform(random) * 2.0,
              recipient_rank,
              by_rank && pick(2) == 0 ? quota : 0,
              redistribute,
              !c.invalid};
    c.mu = pick(2) == 0 ? 1.0 : 0.3;
    c.read = c.mu != 1.0 && pick(3) != 0;
    c.in_place = c.read && pick(2) == 0;
    c.out_is_new = !c.in_place && pick(2) == 0;
    constexpr int threads[] = {32, 64, 96, 128};
    constexpr int sample_sizes[] = {32, 64, 256, 4096};
    c.config.threads = threads[pick(4)];
    c.config.blocks = 1 + pick(5);
    c.config.sample_threads = threads[pick(4)];
    c.config.sample_size = sample_sizes[pick(4)];
    c.config.chunk = 1 + pick(40);
    c.config.capacity = c.n <= c.config.sample_size ? 0
                        : pick(4) == 0              ? (pick(2) == 0 ? 128 : 1 + pick(60))
                                                    : c.n + 5 * 4 * 41;
    c.schedule = {random(), static_cast<unsigned>(1 + pick(4)), pick(4) == 0 ? 0U : static_cast<unsigned>(1 + pick(8))};
    for (auto &offset : c.offsets) {
        offset = pick(2) == 0 ? 0 : pick(9);
    }
    return c;
}

template <class F> std::vector<typename F::Bits> make_losses(const Case &c, Random &random) {
    std::vector<typename F::Bits> losses;
    for (std::int64_t i = 0; i < c.n; ++i) {
        losses.push_back(round_to<F>(draw_loss(c.family, i, c.n, 1 - F::bias - F::mantissa, random)));
    }
    const auto anywhere = [&] { return static_cast<std::size_t>(random() % static_cast<std::uint64_t>(c.n)); };
    losses[anywhere()] = round_to<F>(0.5); // at least one finite loss
    if (c.invalid) {
        const auto low = static_cast<typename F::Bits>(F::infinity | F::sign);
        losses[anywhere()] = random() % 2 == 0 ? low : F::key_nan;
    }
    return losses;
}

// In a third of the cases the rank is that of the last of several equal losses: an edge of a bracket.
template <class F> void choose_rank(Case &c, const std::vector<typename F::Bits> &losses, Random &random) {
    if (c.rule.rank == 0 || random() % 3 != 0) {
        return;
    }
    const auto pivot = F::key(losses[random() % losses.size()]);
    if (pivot != F::key_nan) {
        c.rule.rank = std::count_if(losses.begin(), losses.end(), [&](auto bits) { return F::key(bits) <= pivot; });
        c.rule.quota = c.rule.quota == 0 ? 0 : c.n - c.rule.rank;
    }
}

template <class F> NonFiniteCounts find_faults(const std::vector<typename F::Bits> &losses) {
    NonFiniteCounts faults;
    for (std::size_t i = 0; i < losses.size(); ++i) {
        const auto key = F::key(losses[i]);
        const auto index = static_cast<std::int64_t>(i);
        if (key == F::key_nan) {
            faults.first_nan = faults.n_nan++ == 0 ? index : faults.first_nan;
        } else if (key == F::key_neg_inf) {
            faults.first_neg_inf = faults.n_neg_inf++ == 0 ? index : faults.first_neg_inf;
        } else if (key == F::key_inf) {
            ++faults.n_pos_inf;
        }
    }
    return faults;
}

bool same(const NonFiniteCounts &a, const NonFiniteCounts &b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

// Whether `out` holds the right weights; all NaN if it is new and old weights were invalid, and anything if it is not.
template <class W>
bool is_result(const Memory<W> &out, const std::vector<W> &right, const InvalidWeights &invalid, bool out_is_new) {
    if (invalid.n == 0) {
        return out.equals(right);
    }
    return !out_is_new || out.equals(std::vector<W>(right.size(), std::numeric_limits<W>::quiet_NaN()));
}

template <class F> bool try_one(Random &random, std::string &description) {
    using W = typename F::Weight;
    Case c = random_case(random);
    // A generator of its own: the other draws stay those for which the planted bugs are detected.
    Random weight_random(c.schedule.seed);
    c.invalid_weights = c.read && weight_random() % 3 == 0;
    const auto losses = make_losses<F>(c, random);
    choose_rank<F>(c, losses, random);
    description = c.describe(F::width);
    if (std::getenv("RRM_VERBOSE") != nullptr) {
        std::fprintf(stderr, "%s\n", description.c_str());
    }
    std::vector<W> old;
    for (std::int64_t i = 0; i < c.n; ++i) {
        old.push_back(static_cast<W>(uniform(random)));
    }
    const InvalidWeights expected_invalid =
        c.invalid_weights ? draw_invalid_weights(weight_random, old) : InvalidWeights{};
    model::configure(c.schedule);
    model::unregister_memory();
    const Memory<typename F::Bits> device_losses(losses, c.offsets[0], false);
    Memory<W> device_old(old, c.offsets[1], c.in_place), device_new(c.n, c.offsets[2], true);
    Memory<cuda::Outcome> outcome(1, 0, true);
    const auto room = static_cast<std::int64_t>(cuda::workspace_bytes<F>(c.n, c.rule, c.config));
    Memory<unsigned char> workspace(room, 0, true);
    Memory<W> &out = c.in_place ? device_old : device_new;
    const std::vector<W> untouched(out.data, out.data + c.n);
    const cuda::Weights<F> weights{c.read ? device_old.data : nullptr, out.data, c.mu, c.out_is_new};
    if (cuda::reweight<F>(device_losses.data, c.n, c.rule, weights, outcome.data, workspace.data, c.config, nullptr) !=
        0) {
        return false;
    }
    const NonFiniteCounts faults = find_faults<F>(losses);
    if (!same(outcome.data->faults, faults)) {
        return false;
    }
    if (faults.is_invalid(c.n, c.rule.prune_nan)) {
        const std::vector<W> nothing(losses.size(), std::numeric_limits<W>::quiet_NaN());
        return out.equals(c.out_is_new ? nothing : untouched);
    }
    Plan expected{};
    const auto right = reference_weights<F>(losses, c.rule, c.mu, c.read ? old.data() : nullptr, expected);
    if (!rrm::same(outcome.data->plan, expected) || !rrm::same(outcome.data->invalid_weights, expected_invalid) ||
        !is_result(out, right, expected_invalid, c.out_is_new)) {
        return false;
    }
    const cuda::Weights<F> targets{nullptr, device_new.data, 1.0, false};
    Memory<cuda::ApplyOutcome> apply_outcome(1, 0, true);
    if (cuda::apply<F>(device_losses.data, c.n, expected, targets, nullptr, c.config, nullptr) != 0 ||
        !device_new.equals(reference_weights<F>(losses, c.rule, 1.0, nullptr, expected))) {
        return false;
    }
    if (c.read && !c.in_place) {
        const cuda::Weights<F> again{device_old.data, device_new.data, c.mu, c.out_is_new};
        if (cuda::apply<F>(device_losses.data, c.n, expected, again, apply_outcome.data, c.config, nullptr) != 0 ||
            !rrm::same(apply_outcome.data->invalid_weights, expected_invalid) ||
            !is_result(device_new, right, expected_invalid, c.out_is_new)) {
            return false;
        }
    }
    std::int64_t foreign = 0;
    for (const auto bits : losses) {
        foreign += F::value(bits) < expected.threshold || std::isnan(F::value(bits)) ? 1 : 0;
    }
    Memory<cuda::Count> counted(1, 0, true);
    return cuda::count_foreign<F>(device_losses.data, c.n, expected.threshold, false, counted.data, c.config,
                                  nullptr) == 0 &&
           *counted.data == static_cast<cuda::Count>(foreign);
}

// Prints launches and bytes, counted by the kernels, with the launch configuration for a GPU of 132 multiprocessors.
template <class F> [[maybe_unused]] int print_costs(std::int64_t n, const std::string &name) {
    constexpr int processors = 132; // of an H100
    Rule rule{n - n / 5, 0.0, 1, 0, Redistribute::recipients, false};
    if (name == "gamma") {
        rule.rank = 0;
        rule.gamma = 1.6;
    } else if (name == "fraction") {
        rule.recipient_rank = n / 10;
    }
    Random random(1);
    Memory<typename F::Bits> losses(n, 0, true);
    Memory<typename F::Weight> weights(n, 0, true);
    for (std::int64_t i = 0; i < n; ++i) {
        const double u = 1.0 - static_cast<double>(random() >> 11) * 0x1p-53;
        if constexpr (F::width == 64) {
            losses.data[i] = std::bit_cast<typename F::Bits>(-std::log(u));
        } else {
            losses.data[i] = std::bit_cast<typename F::Bits>(static_cast<float>(-std::log(u)));
        }
        weights.data[i] = 1;
    }
    const auto config = cuda::make_launch_config<F>(n, {processors}, {});
    Memory<unsigned char> workspace(static_cast<std::int64_t>(cuda::workspace_bytes<F>(n, rule, config)), 0, true);
    Memory<cuda::Outcome> outcome(1, 0, true);
    model::configure({1, 2, 0});
    model::unregister_memory();
    model::reset_costs();
    cuda::reweight<F>(losses.data, n, rule, {weights.data, weights.data, 0.3, false}, outcome.data, workspace.data,
                      config, nullptr);
    model::Cost costs[16];
    const std::size_t kernels = model::costs(costs, 16);
    std::printf("{\"workspace\": %lld, \"pruned\": %lld, \"kernels\": [", static_cast<long long>(workspace.n),
                static_cast<long long>(outcome.data->plan.n_pruned));
    for (std::size_t i = 0; i < kernels; ++i) {
        std::printf("%s{\"kernel\": \"%s\", \"launches\": %llu, \"read\": %llu, \"written\": %llu}", i == 0 ? "" : ", ",
                    costs[i].kernel, static_cast<unsigned long long>(costs[i].launches),
                    static_cast<unsigned long long>(costs[i].bytes_read),
                    static_cast<unsigned long long>(costs[i].bytes_written));
    }
    std::puts("]}");
    return 0;
}

} // namespace

int main(int argc, char **argv) {
#ifndef RRM_ONLY
    if (argc == 5 && std::strcmp(argv[1], "costs") == 0) {
        const std::int64_t n = std::atoll(argv[3]);
        return std::strcmp(argv[2], "float64") == 0 ? print_costs<Float64>(n, argv[4])
                                                    : print_costs<Float32>(n, argv[4]);
    }
#endif
    if (argc != 3 && !(argc == 4 && std::strcmp(argv[3], "ptx") == 0)) {
        std::fputs("usage: kernel_cases CASES SEED [ptx] | kernel_cases costs FORMAT N RULE\n", stderr);
        return 2;
    }
    model::use_ptx(argc == 4);
    const int cases = std::atoi(argv[1]);
    Random random(static_cast<std::uint64_t>(std::atoll(argv[2])));
    for (int i = 0; i < cases; ++i) {
        std::string description;
#ifdef RRM_ONLY // the kernels were compiled for this format only
        const bool right = try_one<RRM_ONLY>(random, description);
#else
        const bool right = i % 4 == 0   ? try_one<Float16>(random, description)
                           : i % 4 == 1 ? try_one<BFloat16>(random, description)
                           : i % 4 == 2 ? try_one<Float32>(random, description)
                                        : try_one<Float64>(random, description);
#endif
        if (!right) {
            std::printf("case %d differs: %s\n", i, description.c_str());
            return 1;
        }
    }
    std::printf("%d cases\n", cases);
    return 0;
}
